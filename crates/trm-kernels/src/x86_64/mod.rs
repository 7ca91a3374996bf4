//! Kernels for x86-64, one file or folder for each instruction set.

pub(crate) mod amx;
pub(crate) mod avx512_bf16;
