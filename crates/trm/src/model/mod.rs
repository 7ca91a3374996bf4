//! The Tiny Recursive Model: parameters, the residual block, the recursion, and one pass over a batch.

mod backward;
mod batch;
mod block;
mod block_tape;
mod budget;
mod calibration;
mod cycle_tape;
mod engine;
mod feedback;
mod first_values;
mod hypotheses;
mod memory;
mod mixer;
mod mixer_tape;
mod open;
mod packed;
pub mod paper;
mod params;
mod recursion;
mod search;
mod shard;
mod sizes;
mod stack;
mod states;
mod weight_gradients;

pub use batch::{Batch, Tally, argmax};
pub use block_tape::BlockTape;
pub use budget::{Budget, Prediction};
pub use calibration::{InputStatistics, input_statistics};
pub use cycle_tape::Recording;
pub use engine::{Engine, TrainingStep};
pub use hypotheses::{random, revise};
pub use memory::{MemoryPlan, flops_per_sample, parameter_count};
pub use params::{BlockParams, Linear, MixerParams, Norm, Params};
pub use recursion::Model;
pub use shard::Shard;
pub use states::{States, StatesMut};

/// Cells of a board.
pub const CELLS: usize = 81;
/// Digits that a cell can hold: the classes of the prediction.
pub const DIGITS: usize = 9;
