//! The documented family of models: the recursion and its gradients, one pass over a batch, and how an answer is found.

mod backward;
mod batch;
mod budget;
mod calibration;
mod engine;
mod hypotheses;
mod memory;
mod network;
mod open;
pub mod paper;
mod recording;
mod recursion;
mod search;
mod shard;
mod sizes;
mod states;

pub use batch::{Batch, Tally, argmax};
pub use budget::{Budget, Prediction};
pub use calibration::{InputStatistics, input_statistics};
pub use engine::{Engine, TrainingStep};
pub use hypotheses::{random, revise};
pub use memory::MemoryPlan;
pub use network::{Network, flops_per_sample, parameter_count};
pub use recording::Recording;
pub use recursion::Model;
pub use shard::Shard;
pub use states::{States, StatesMut};
