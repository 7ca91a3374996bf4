//! Solving, evaluating and tracing with the paper's model: the counterparts of [`crate::solve::solve`],
//! [`crate::evaluate::evaluate`] and [`crate::trace::solve_traced`]. A puzzle is left as soon as its board is a solution.

use crate::evaluate::{Evaluation, evaluate_with};
use crate::model::Budget;
use crate::model::paper::Model;
use crate::parallel::Threads;
use crate::solve::{Answer, Givens, solve_with};
use crate::sudoku::{Grid, Puzzle};
use crate::trace::{Trace, solve_traced_with};

/// Answers every puzzle within `budget`.
pub fn solve(
    model: &Model,
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    threads: &Threads,
) -> Vec<Answer> {
    solve_with(puzzles, givens, |cells| model.predict(cells, budget, threads))
}

/// Predicts every puzzle within `budget` and compares with its solution.
pub fn evaluate(model: &Model, puzzles: &[Puzzle], budget: &Budget, threads: &Threads) -> Evaluation {
    evaluate_with(puzzles, |cells| model.predict(cells, budget, threads))
}

/// Answers every puzzle within `budget` and tells how each answer came about.
pub fn solve_traced(
    model: &Model,
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    threads: &Threads,
) -> Vec<(Answer, Trace)> {
    solve_traced_with(puzzles, givens, budget, |cells, recorders| {
        model.predict_observed(cells, budget, recorders, threads)
    })
}
