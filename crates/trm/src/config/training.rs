//! Settings of the loss, the optimiser and pruning.

use super::{ConstraintSchedule, Pruning};
use serde::{Deserialize, Serialize};

/// Settings of what one optimiser step does: the loss, the batch, AdamW and pruning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Weight of the penalties for digits whose expected count in a unit is not one; 0 switches them off (SPEC.md).
    pub constraint_weight: f64,
    /// The kinds of units that are penalised: some of row, column and box, separated by commas.
    pub constraint_kinds: String,
    /// How the weight goes through the run.
    pub constraint_schedule: ConstraintSchedule,
    /// Whether a puzzle leaves the batch once its board is right, before its segments are over.
    pub halting: bool,
    /// Highest learning rate.
    pub lr: f64,
    /// Decoupled weight decay of AdamW, on weight matrices only.
    pub weight_decay: f64,
    /// Decay rate of AdamW's first moment.
    pub beta1: f64,
    /// Decay rate of AdamW's second moment.
    pub beta2: f64,
    /// Puzzles in one optimiser step.
    pub batch_size: usize,
    /// Steps over which the learning rate rises from zero before the cosine starts.
    pub warmup_steps: usize,
    /// Largest L2 norm of the whole gradient; longer ones are scaled down to it.
    pub clip_norm: f64,
    /// Decay of the moving average of the weights that is validated and saved; 0 switches it off.
    pub ema: f64,
    /// The weights of the blocks that become zero, more and more over the first three quarters of the run.
    pub prune: Pruning,
    /// Share of the blocks' weights that are zero in the end, if `prune` is not `none`.
    pub sparsity: f64,
}

impl Default for TrainingConfig {
    /// The documented settings.
    fn default() -> Self {
        Self {
            constraint_weight: 0.0,
            constraint_kinds: "row,column,box".into(),
            constraint_schedule: ConstraintSchedule::Constant,
            halting: true,
            lr: 1e-4,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            batch_size: 64,
            warmup_steps: 0,
            clip_norm: 1.0,
            ema: 0.0,
            prune: Pruning::None,
            sparsity: 0.5,
        }
    }
}

impl TrainingConfig {
    /// The names in `constraint_kinds`.
    pub(super) fn constraint_names(&self) -> impl Iterator<Item = &str> {
        self.constraint_kinds.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// Whether rows, columns and boxes are penalised.
    pub fn constrains(&self) -> [bool; 3] {
        ["row", "column", "box"].map(|kind| self.constraint_names().any(|name| name == kind))
    }
}
