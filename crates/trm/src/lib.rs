//! Tiny Recursive Models: networks of a few million parameters that solve a puzzle by refining a latent
//! hypothesis `z` and an answer `y` over nested loops.
#![forbid(unsafe_code)]

pub mod atomic_file;
pub mod bench;
pub mod checkpoint;
pub mod compress;
pub mod config;
pub mod data;
pub mod evaluate;
pub mod layers;
pub mod model;
pub mod network;
pub mod ops;
pub mod paper;
pub mod parallel;
#[cfg(feature = "plot")]
pub mod plot;
pub mod solve;
pub mod sudoku;
pub mod tensor;
pub mod timing;
pub mod trace;
pub mod train;

pub use trm_kernels::{AlignedMemory, Level, LevelError, choose_level};

/// Name of the instruction set that loops run with; see [`trm_kernels::level`].
pub fn kernel_level() -> &'static str {
    trm_kernels::level().name()
}
