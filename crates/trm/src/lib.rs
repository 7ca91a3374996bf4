//! Tiny Recursive Models: small networks that solve a puzzle by refining a latent hypothesis `z` and an answer `y` over nested
//! loops. The puzzle is Sudoku.
//!
//! ```text
//! z <- z + alpha R(x_emb + y + z)      L_cycles times: refine the hypothesis
//! y <- y + beta  O(y + z)              H_cycles times: commit it to the answer
//! ```
//!
//! # Solve
//! A model comes with the library. Every answer is checked against the rules.
//!
//! ```
//! use trm::{Grid, Solver};
//!
//! let puzzle = Grid::parse("53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79")?;
//! let answer = Solver::shipped().solve(&puzzle);
//! assert!(answer.solved);
//! # Ok::<(), trm::sudoku::GridError>(())
//! ```
//!
//! [`Solver::open`] takes a model file instead, [`Solver::trace`] tells how an answer came about, cycle by cycle, and
//! [`Solver::evaluate`] how well a model does.
//!
//! # Train
//! [`Training`] starts from named settings; an observer sees every step. This run is far too short to learn anything.
//!
//! ```
//! use trm::{Grid, Solver, Training, train::Silent};
//!
//! let folder = tempfile::tempdir()?;
//! let training = Training::documented()
//!     .set("hidden_dim=16")?
//!     .set("epochs=1")?
//!     .set("generate_samples=40")?;
//! training.run(folder.path().join("run"), &mut Silent)?;
//!
//! let solver = Solver::open(folder.path().join("run/trm_sudoku_production.pt"))?;
//! assert_eq!(solver.solve(&Grid::BLANK).board.to_line().len(), 81);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is where
//! | module | what is in it |
//! |---|---|
//! | [`sudoku`], [`data`] | boards, exact solver, generators, symmetries; puzzle files |
//! | [`config`] | every setting, presets, TOML |
//! | [`ops`], [`network`] | operations with their gradients; the list of tensors |
//! | [`model`] | the recursion of the documented family and, in [`model::paper`], that of the paper |
//! | [`solve`], [`trace`], [`evaluate`] | answers, how they came about, how good they are |
//! | [`train`], [`checkpoint`], [`compress`] | runs, model files, smaller models |
//! | [`plot`], [`mod@bench`] | pictures; speed on this machine |
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod atomic_file;
pub mod bench;
pub mod checkpoint;
pub mod compress;
pub mod config;
pub mod data;
pub mod evaluate;
mod layers;
pub mod model;
pub mod network;
pub mod ops;
pub mod parallel;
#[cfg(feature = "plot")]
pub mod plot;
pub mod solve;
mod solver;
pub mod sudoku;
pub mod tensor;
mod timing;
pub mod trace;
pub mod train;

pub use solver::Solver;
pub use sudoku::Grid;
pub use train::Training;
pub use trm_kernels::{AlignedMemory, Level, LevelError, choose_level};

/// Name of the instruction set that loops run with; see [`trm_kernels::level`].
pub fn kernel_level() -> &'static str {
    trm_kernels::level().name()
}
