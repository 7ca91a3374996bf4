//! Kernels for x86-64, one file for each instruction set.

pub mod avx512_bf16;
pub mod avx512_vnni;
