//! Tiny Recursive Models: networks of a few million parameters that solve a puzzle by refining a latent
//! hypothesis `z` and an answer `y` over nested loops.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod model;
pub mod ops;
pub mod parallel;
pub mod sudoku;
pub mod tensor;
pub mod train;
