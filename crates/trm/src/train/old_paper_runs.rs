//! Runs of the paper's model that versions up to 0.1.0 saved: where they are, as those versions wrote it.

use super::Progress;
use super::history::Record;
use serde::Deserialize;

/// A place in the batch.
#[derive(Deserialize)]
struct OldPlace {
    puzzle: Option<u64>,
    segments: usize,
    halted: bool,
}

/// What was summed since the last record.
#[derive(Deserialize)]
struct OldSums {
    steps: u64,
    loss: f64,
    cells_right: u64,
    left: u64,
    left_right: u64,
    left_segments: u64,
}

/// Where such a run is.
#[derive(Deserialize)]
pub(super) struct OldProgress {
    taken: u64,
    places: Vec<OldPlace>,
    sums: OldSums,
    elapsed_s: f64,
    best: Option<f64>,
    records: Vec<Record>,
    data_sizes: [usize; 3],
}

impl From<OldProgress> for Progress {
    fn from(old: OldProgress) -> Self {
        let OldProgress { taken, places, sums, elapsed_s, best, records, data_sizes } = old;
        let best_round = records.iter().rposition(|record| record.is_best).map_or(0, |i| i + 1);
        let cells = sums.steps * (places.len() * crate::sudoku::CELLS) as u64;
        // A place without a puzzle is filled by the next step, as one whose puzzle left.
        let began = places.iter().any(|place| place.puzzle.is_some());
        let places = if began { places } else { Vec::new() };
        Self {
            epoch: records.len(),
            step_in_epoch: sums.steps as usize,
            loss_sum: sums.loss,
            losses: sums.steps,
            cells: [cells, sums.cells_right],
            left: [sums.left, sums.left_right, sums.left_segments],
            elapsed_s,
            best: best.map(|best| (best, best_round)),
            history: records,
            data_sizes,
            drawn: taken,
            staying: places.iter().map(|place| (place.puzzle.unwrap_or(0), place.segments)).collect(),
            leaving: places.iter().map(|place| place.halted).collect(),
            ..Self::default()
        }
    }
}
