//! How well a model does on puzzles whose solutions are known.

use crate::model::{Batch, Budget, Prediction, Tally, Thinker};
use crate::parallel::Threads;
use crate::sudoku::{CELLS, Puzzle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Puzzles in one prediction, a bound on the memory for logits.
const CHUNK: usize = 4096;

/// Loss and accuracies over a set of puzzles, from the bare predictions: givens count as predicted, not as given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Number of puzzles.
    pub puzzles: u64,
    /// Mean cross-entropy of a cell.
    pub loss: f64,
    /// Mean penalty of a board for rows, columns and boxes: see `ops/constraint_loss.rs`.
    pub constraint_loss: f64,
    /// Mean number of conflicting cells of a predicted board: cells whose digit occurs again in the same row, column
    /// or box.
    pub conflicts_per_board: f64,
    /// Share of all cells that are right.
    pub cell_accuracy: f64,
    /// Share of the blank cells that are right.
    pub blank_accuracy: f64,
    /// Share of the boards that are right in every cell.
    pub board_accuracy: f64,
    /// (boards, boards right) by number of givens.
    pub boards_by_givens: BTreeMap<usize, [u64; 2]>,
    /// Boards that came out solved with the givens kept: valid, so right if the puzzle has one solution.
    pub solved: u64,
    /// (outer cycles, boards solved within so many), for powers of two up to the most that any board took.
    pub solved_by_cycles: Vec<(usize, u64)>,
    /// Boards solved within no restart, one restart and so on, without a guess.
    pub solved_by_restarts: Vec<u64>,
    /// (guesses, boards solved with at most so many), for 0 and powers of two up to the most that any board took.
    pub solved_by_guesses: Vec<(usize, u64)>,
}

/// Predicts every puzzle within `budget` and compares the answer with the solution.
pub fn evaluate(model: &dyn Thinker, puzzles: &[Puzzle], budget: &Budget, threads: &Threads) -> Evaluation {
    let (mut total, mut predict) = (Tally::default(), model.predictor());
    let mut all = Vec::with_capacity(puzzles.len());
    let mut boards_by_givens: BTreeMap<usize, [u64; 2]> = BTreeMap::new();
    for chunk in puzzles.chunks(CHUNK) {
        let batch = Batch::of(chunk);
        let predictions = predict(&batch.cells, budget, threads);
        for (i, (puzzle, prediction)) in chunk.iter().zip(&predictions).enumerate() {
            let cells = i * CELLS..(i + 1) * CELLS;
            let tally = Tally::of(&prediction.logits, &batch.cells[cells.clone()], &batch.targets[cells]);
            let [boards, right] = boards_by_givens.entry(puzzle.quiz.givens()).or_default();
            *boards += 1;
            *right += tally.boards[1];
            total.add(&tally);
        }
        all.extend(predictions.into_iter().map(|p| Prediction { logits: Vec::new(), ..p }));
    }
    let solved =
        |within: &dyn Fn(&Prediction) -> bool| all.iter().filter(|p| p.solved && within(p)).count() as u64;
    let most = |of: fn(&Prediction) -> usize| all.iter().map(of).max().unwrap_or(0);
    let powers =
        |most: usize| std::iter::successors((most > 0).then_some(1), move |n| (*n < most).then_some(2 * n));
    let guesses = std::iter::once(0).chain(powers(most(|p| p.guesses)));
    Evaluation {
        puzzles: total.boards[0],
        loss: total.loss(),
        constraint_loss: total.constraint_loss(),
        conflicts_per_board: total.conflicts_per_board(),
        cell_accuracy: total.cell_accuracy(),
        blank_accuracy: total.blank_accuracy(),
        board_accuracy: total.board_accuracy(),
        boards_by_givens,
        solved: solved(&|_| true),
        solved_by_cycles: powers(most(|p| p.steps)).map(|n| (n, solved(&|p| p.steps <= n))).collect(),
        solved_by_restarts: (0..=most(|p| p.restarts))
            .map(|r| solved(&|p| p.restarts <= r && p.guesses == 0))
            .collect(),
        solved_by_guesses: guesses.map(|n| (n, solved(&|p| p.guesses <= n))).collect(),
    }
}
