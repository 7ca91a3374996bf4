//! Tiny Recursive Models: networks of a few million parameters that solve a puzzle by refining a latent
//! hypothesis `z` and an answer `y` over nested loops.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod sudoku;
pub mod tensor;
