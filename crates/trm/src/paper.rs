//! Solving, evaluating and tracing with the paper's model: the counterparts of [`crate::solve::solve`],
//! [`crate::evaluate::evaluate`] and [`crate::trace::trace`]. A puzzle is left as soon as its board is a solution.

use crate::evaluate::{Evaluation, evaluate_with};
use crate::model::paper::Model;
use crate::parallel::Threads;
use crate::solve::{Answer, Givens, solve_with};
use crate::sudoku::{Grid, Puzzle};
use crate::trace::CycleTrace;

/// Answers every puzzle by at most `segments` segments.
pub fn solve(
    model: &Model,
    puzzles: &[Grid],
    givens: Givens,
    segments: usize,
    threads: &Threads,
) -> Vec<Answer> {
    solve_with(puzzles, givens, |cells| model.predict(cells, segments, threads))
}

/// Predicts every puzzle by at most `segments` segments and compares with its solution.
pub fn evaluate(model: &Model, puzzles: &[Puzzle], segments: usize, threads: &Threads) -> Evaluation {
    evaluate_with(puzzles, |cells| model.predict(cells, segments, threads))
}

/// Solves one puzzle and reads the answer off after every segment, which stands where a cycle does.
pub fn trace(model: &Model, puzzle: &Grid, givens: Givens, segments: usize) -> Vec<CycleTrace> {
    let mut before = *puzzle.cells();
    let read = (1..).zip(model.trace(puzzle.cells(), segments)).map(|(number, segment)| {
        let (trace, board) = CycleTrace::read(number, puzzle, &before, &segment.logits, givens);
        before = board;
        let latent_updates = vec![segment.latent_update];
        CycleTrace { latent_updates, output_update: segment.output_update, ..trace }
    });
    read.collect()
}
