//! Where a run is, and what it has seen.

use super::history::Record;
use super::kind::StepOutcome;
use crate::sudoku::CELLS;
use serde::{Deserialize, Serialize};

/// Gradient norms that are remembered for the report of a divergence.
const RECENT_NORMS: usize = 5;

/// The progress of a run: all that resuming needs beyond weights and moments. A round is an epoch, or the steps from
/// one validation to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Rounds completed.
    pub epoch: usize,
    /// Steps made in the current round.
    pub step_in_epoch: usize,
    /// Loss sum of the current round, over cells or over steps.
    pub loss_sum: f64,
    /// Cells seen in the current round, and those predicted right.
    pub cells: [u64; 2],
    /// Penalty sum of the current round, over boards.
    #[serde(default)]
    pub constraint_sum: f64,
    /// Sum and maximum of the gradient norms of the current round.
    pub grad_norms: [f64; 2],
    /// Last gradient norms, newest last.
    pub recent_norms: Vec<f64>,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: f64,
    /// Seconds of the current round.
    pub epoch_s: f64,
    /// Score of the best validation so far, and its round.
    pub best: Option<(f64, usize)>,
    /// One record for each completed round.
    pub history: Vec<Record>,
    /// Numbers of training, validation and held-out puzzles. A run with other data would be another run.
    #[serde(default)]
    pub data_sizes: [usize; 3],
    /// Puzzles that were drawn for the batch so far.
    #[serde(default)]
    pub drawn: u64,
    /// The first draw of each stage of the curriculum but the first.
    #[serde(default)]
    pub opened: Vec<u64>,
    /// Puzzles in the batch between two steps: number of the draw, and supervision segments behind it.
    #[serde(default)]
    pub staying: Vec<(u64, usize)>,
    /// Whether each puzzle of `staying` leaves before the next step. Empty in runs that drop a puzzle as soon as it
    /// leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<bool>,
    /// Number of terms of `loss_sum` in runs whose loss is not a sum over cells.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub losses: u64,
    /// Puzzles that left the batch in the current round, how many of them were right, and the sum of their segments.
    /// Zeros unless the model itself says when a puzzle leaves.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub left: [u64; 3],
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_nothing(counts: &[u64; 3]) -> bool {
    *counts == [0; 3]
}

impl Progress {
    /// Counts one step of `seconds`, after which `left` puzzles left the batch.
    pub(super) fn count(&mut self, outcome: &StepOutcome, grad_norm: f64, left: [u64; 3], seconds: f64) {
        self.step_in_epoch += 1;
        self.loss_sum += outcome.loss_sum;
        if outcome.losses != outcome.cells[0] {
            self.losses += outcome.losses;
            self.left.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
        }
        self.constraint_sum += outcome.constraint_sum;
        self.cells[0] += outcome.cells[0];
        self.cells[1] += outcome.cells[1];
        self.grad_norms[0] += grad_norm;
        self.grad_norms[1] = self.grad_norms[1].max(grad_norm);
        self.recent_norms.push(grad_norm);
        if self.recent_norms.len() > RECENT_NORMS {
            self.recent_norms.remove(0);
        }
        self.elapsed_s += seconds;
        self.epoch_s += seconds;
    }

    /// Mean loss of the round.
    pub(super) fn train_loss(&self) -> f64 {
        let losses = if self.losses > 0 { self.losses } else { self.cells[0] };
        self.loss_sum / losses.max(1) as f64
    }

    /// Share of the round's cells that were predicted right.
    pub(super) fn train_cell_accuracy(&self) -> f64 {
        self.cells[1] as f64 / self.cells[0].max(1) as f64
    }

    /// Share of the puzzles that left the batch with every cell right, where that is counted.
    pub(super) fn left_board_accuracy(&self) -> Option<f64> {
        (self.losses > 0).then(|| self.left[1] as f64 / self.left[0].max(1) as f64)
    }

    /// Mean number of segments of the puzzles that left the batch, where that is counted.
    pub(super) fn left_segments(&self) -> Option<f64> {
        (self.losses > 0).then(|| self.left[2] as f64 / self.left[0].max(1) as f64)
    }

    /// Mean penalty of the round's boards, where the loss is counted by cells.
    pub(super) fn train_constraint_loss(&self) -> Option<f64> {
        (self.losses == 0).then(|| self.constraint_sum * CELLS as f64 / self.cells[0].max(1) as f64)
    }

    /// Stage of the curriculum, from 0, that draw `number` belongs to.
    pub(super) fn stage_of(&self, number: u64) -> usize {
        self.opened.iter().filter(|first| **first <= number).count()
    }

    /// Begins the next round.
    pub(super) fn begin_round(&mut self) {
        *self = Self {
            step_in_epoch: 0,
            loss_sum: 0.0,
            losses: 0,
            constraint_sum: 0.0,
            cells: [0, 0],
            left: [0; 3],
            grad_norms: [0.0, 0.0],
            epoch_s: 0.0,
            ..std::mem::take(self)
        };
    }
}
