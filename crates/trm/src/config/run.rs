//! Settings of how long a run goes on and of the memory that it takes.

use super::CheckpointActivations;
use serde::{Deserialize, Serialize};

/// Settings of a run as a whole: how long it goes on, and what it trades for memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Passes over the training puzzles.
    pub epochs: usize,
    /// Epochs without a better validation accuracy before training stops; 0 never stops early.
    pub patience: usize,
    /// Memory for time: what the forward pass keeps.
    pub checkpoint_activations: CheckpointActivations,
}

impl Default for RunConfig {
    /// The documented settings.
    fn default() -> Self {
        Self { epochs: 50, patience: 5, checkpoint_activations: CheckpointActivations::None }
    }
}
