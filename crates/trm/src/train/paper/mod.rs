//! Training of the paper's model: each puzzle of the batch stays for up to 16 segments, with an optimiser step after each.
//!
//! ```text
//! for each step:
//!     puzzles that were halted give their places to fresh ones, whose states are the first states
//!     one segment of every puzzle from the states it has; gradient of its loss; AdamW
//!     halted: after `halt_max_steps` segments, or when q_halt > 0 (sometimes only after a drawn number of segments)
//! ```
//!
//! # Source
//! "Less is More: Recursive Reasoning with Tiny Networks", <https://arxiv.org/abs/2510.04871>, sections 2 and 4

mod progress;
mod resume;
mod run;
mod settings;
mod trainer;

pub use progress::{Record, StepReport};
pub use run::{Observer, RunFolder, run};
pub use settings::{Settings, Training};
pub use trainer::Trainer;
