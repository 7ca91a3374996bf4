//! Accuracy against sparsity, each pruning in one shot.

use super::pruned;
use crate::checkpoint::Checkpoint;
use crate::config::Pruning;
use crate::evaluate::evaluate;
use crate::model::Budget;
use crate::parallel::Threads;
use crate::sudoku::Puzzle;
use serde::Serialize;

/// Accuracy of one pruned model.
#[derive(Clone, Debug, Serialize)]
pub struct SweepPoint {
    /// The kind of pruning.
    pub kind: Pruning,
    /// Which share.
    pub sparsity: f64,
    /// Share of all cells that are right.
    pub cell_accuracy: f64,
    /// Share of the blank cells that are right.
    pub blank_accuracy: f64,
    /// Share of the boards that are right.
    pub board_accuracy: f64,
}

/// Prunes by each kind to 0, 10 ... 90 %, and evaluates within the cycles of training; `observe` sees each point as it comes.
pub fn sweep(
    checkpoint: &Checkpoint,
    puzzles: &[Puzzle],
    threads: &Threads,
    mut observe: impl FnMut(&SweepPoint),
) -> Vec<SweepPoint> {
    let mut points = Vec::new();
    for kind in [Pruning::Unstructured, Pruning::TwoOfFour, Pruning::Structured] {
        for sparsity in (0..10).map(|tenths| f64::from(tenths) / 10.0).filter(|s| kind.has(*s)) {
            let model = pruned(checkpoint, kind, sparsity).into_model(threads);
            let budget = Budget::trained(model.config());
            let e = evaluate(&model, puzzles, &budget, threads);
            let (cell_accuracy, blank_accuracy) = (e.cell_accuracy, e.blank_accuracy);
            let board_accuracy = e.board_accuracy;
            points.push(SweepPoint { kind, sparsity, cell_accuracy, blank_accuracy, board_accuracy });
            points.last().into_iter().for_each(&mut observe);
        }
    }
    points
}
