//! Kernels for x86-64, one file or folder for each instruction set.

pub mod amx;
pub mod avx2_bytes;
pub mod avx2_fixed;
pub mod avx512_bf16;
pub mod avx512_vnni;
pub mod bf16_tiles;
pub mod bytes;
pub mod fma;
