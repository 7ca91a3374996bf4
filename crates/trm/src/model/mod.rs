//! The documented family of models: the recursion and its gradients, one pass over a batch, and how an answer is found.

mod backward;
mod batch;
mod budget;
mod calibration;
mod engine;
mod hypotheses;
mod memory;
mod network;
mod observer;
mod open;
pub mod paper;
mod recording;
mod recursion;
mod search;
mod shard;
mod shard_recursion;
mod sizes;
mod states;
mod streams;
mod thinker;
mod trajectory;

pub use batch::{Batch, Tally, argmax};
pub use budget::{Budget, Prediction};
pub use calibration::{InputStatistics, input_statistics};
pub use engine::{Engine, TrainingStep};

pub use memory::MemoryPlan;
pub use network::{Network, flops_per_sample, parameter_count};
pub use observer::{
    CycleView, Failure, Guess, GuessReason, Moment, Observer, SearchReason, TrajectoryEnd, TrajectoryReason,
    Updates,
};
pub use recording::Recording;
pub use recursion::Model;
pub(crate) use shard::Shard;
pub use states::States;

pub use streams::stream;
pub use thinker::{Predictor, Thinker};
