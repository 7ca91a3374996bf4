//! Where a run is, and what it has seen.

use super::history::EpochRecord;
use crate::model::Tally;
use crate::sudoku::CELLS;
use serde::{Deserialize, Serialize};

/// Gradient norms that are remembered for the report of a divergence.
const RECENT_NORMS: usize = 5;

/// Where a run is, and what it has seen: all that resuming needs beyond weights and moments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs completed.
    pub epoch: usize,
    /// Steps made in the current epoch.
    pub step_in_epoch: usize,
    /// Loss sum and hits of the current epoch: cross-entropy, cells, cells right.
    pub loss_sum: f64,
    /// Cells seen in the current epoch, and those predicted right.
    pub cells: [u64; 2],
    /// Penalty sum of the current epoch, over boards.
    #[serde(default)]
    pub constraint_sum: f64,
    /// Sum and maximum of the gradient norms of the current epoch.
    pub grad_norms: [f64; 2],
    /// Last gradient norms, newest last.
    pub recent_norms: Vec<f64>,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: f64,
    /// Seconds of the current epoch.
    pub epoch_s: f64,
    /// Best validation accuracy so far and its epoch.
    pub best: Option<(f64, usize)>,
    /// One record for each completed epoch.
    pub history: Vec<EpochRecord>,
    /// Numbers of puzzles for training, validation and the end: other data would be another run.
    #[serde(default)]
    pub data_sizes: [usize; 3],
    /// Puzzles that were drawn for the batch so far.
    #[serde(default)]
    pub drawn: u64,
    /// The first draw of each stage of the curriculum but the first.
    #[serde(default)]
    pub opened: Vec<u64>,
    /// Puzzles that stay in the batch: number of the draw, and supervision segments behind it.
    #[serde(default)]
    pub staying: Vec<(u64, usize)>,
}

impl Progress {
    /// Counts one step of `seconds`.
    pub(super) fn count(&mut self, tally: &Tally, grad_norm: f64, seconds: f64) {
        self.step_in_epoch += 1;
        self.loss_sum += tally.loss_sum;
        self.constraint_sum += tally.constraint_sums.iter().sum::<f64>();
        self.cells[0] += tally.cells[0];
        self.cells[1] += tally.cells[1];
        self.grad_norms[0] += grad_norm;
        self.grad_norms[1] = self.grad_norms[1].max(grad_norm);
        self.recent_norms.push(grad_norm);
        if self.recent_norms.len() > RECENT_NORMS {
            self.recent_norms.remove(0);
        }
        self.elapsed_s += seconds;
        self.epoch_s += seconds;
    }

    /// Share of the epoch's cells that were predicted right.
    pub(super) fn train_cell_accuracy(&self) -> f64 {
        self.cells[1] as f64 / self.cells[0].max(1) as f64
    }

    /// Mean penalty of the epoch's boards.
    pub(super) fn train_constraint_loss(&self) -> f64 {
        self.constraint_sum * CELLS as f64 / self.cells[0].max(1) as f64
    }

    /// Stage of the curriculum, from 0, that draw `number` belongs to.
    pub(super) fn stage_of(&self, number: u64) -> usize {
        self.opened.iter().filter(|first| **first <= number).count()
    }

    /// Begins the next epoch.
    pub(super) fn begin_epoch(&mut self) {
        *self = Self {
            step_in_epoch: 0,
            loss_sum: 0.0,
            constraint_sum: 0.0,
            cells: [0, 0],
            grad_norms: [0.0, 0.0],
            epoch_s: 0.0,
            ..std::mem::take(self)
        };
    }
}
