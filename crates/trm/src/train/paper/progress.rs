//! Where a run is, and what it did so far.

use super::Settings;
use serde::{Deserialize, Serialize};

/// One validation and the steps before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Optimiser steps made so far.
    pub step: u64,
    /// Mean loss of the steps since the last record.
    pub train_loss: f64,
    /// Share of their cells that were right.
    pub train_cell_accuracy: f64,
    /// Share of the puzzles that left the batch with every cell right.
    pub train_board_accuracy: f64,
    /// Mean number of segments after which they left.
    pub segments: f64,
    /// Mean cross-entropy of a validation cell.
    pub val_loss: Option<f64>,
    /// Share of the validation cells that are right.
    pub val_cell_accuracy: Option<f64>,
    /// Share of the blank ones.
    pub val_blank_accuracy: Option<f64>,
    /// Share of the validation boards that are right in every cell.
    pub val_board_accuracy: Option<f64>,
    /// Mean number of cells of a predicted validation board whose digit stands again in a row, column or box.
    #[serde(default)]
    pub val_conflicts_per_board: Option<f64>,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: f64,
    /// Best validation so far.
    pub is_best: bool,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// Steps made in the run, this one included.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f64,
    /// Share of its cells that are right.
    pub cell_accuracy: f64,
    /// Puzzles that left it.
    pub halted: usize,
    /// Learning rate.
    pub lr: f64,
    /// Segments a second.
    pub segments_per_s: f64,
}

/// A place in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Which puzzle it holds, counted over the whole run; nothing at the start.
    pub puzzle: Option<u64>,
    /// Segments it has had.
    pub segments: usize,
    /// Its puzzle leaves.
    pub halted: bool,
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it was told.
    pub settings: Settings,
    /// Optimiser steps made.
    pub step: u64,
    /// Puzzles taken into the batch so far.
    pub taken: u64,
    /// The batch.
    pub places: Vec<Place>,
    /// Since the last record.
    pub sums: Sums,
    /// Seconds of training, over all sittings.
    pub elapsed_s: f64,
    /// Best validation so far.
    pub best: Option<f64>,
    /// One for each validation.
    pub records: Vec<Record>,
    /// Numbers of puzzles for training, validation and the end: other data would be another run.
    pub data_sizes: [usize; 3],
}

/// Since the last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Steps.
    pub steps: u64,
    /// Sum of their losses.
    pub loss: f64,
    /// Cells that were right in them.
    pub cells_right: usize,
    /// Puzzles that left the batch,
    pub left: usize,
    /// those of them that were right,
    pub left_right: usize,
    /// and the segments that they took.
    pub left_segments: usize,
}
