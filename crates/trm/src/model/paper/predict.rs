//! Answers: segment after segment until a board obeys the rules and agrees with its givens, or no segment is left.

use super::board::Board;
use super::recursion::Model;
use super::{BLANK, Carry, VOCABULARY};
use crate::model::Prediction;
use crate::model::budget::is_solution;
use crate::ops::log_stable;
use crate::parallel::Threads;
use crate::sudoku::CELLS;

/// Parts that puzzles are shared out to the threads in: some solve theirs sooner than others.
const PARTS: usize = 64;

/// What one segment made of the states of a puzzle.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentTrace {
    /// As in [`Prediction`].
    pub logits: Vec<f32>,
    /// `|z_H_new - z_H_old|`, root mean square over all values.
    pub output_update: f32,
    /// `|z_L_new - z_L_old|`, root mean square over all values.
    pub latent_update: f32,
}

impl Model {
    /// Answers every puzzle by at most `segments` segments. The result does not depend on the company a puzzle is in.
    ///
    /// # Shapes
    /// `cells` is `[puzzles, 81]`, digits of the puzzles, 0 where blank.
    pub fn predict(&self, cells: &[u8], segments: usize, threads: &Threads) -> Vec<Prediction> {
        let puzzles = cells.len() / CELLS;
        let mut predictions = vec![Prediction::default(); puzzles];
        let part = puzzles.div_ceil(PARTS).max(1);
        let parts = cells.chunks(part * CELLS).zip(predictions.chunks_mut(part));
        threads.for_each(parts.collect(), |(cells, predictions): (&[u8], &mut [Prediction])| {
            let mut board = self.board(false);
            for (cells, prediction) in cells.chunks_exact(CELLS).zip(predictions) {
                self.answer(&mut board, cells, segments, |board| {
                    prediction.logits = digit_logits(board);
                    prediction.steps += self.config().h_cycles;
                    prediction.solved = is_solution(cells, &prediction.logits);
                    prediction.solved
                });
            }
        });
        predictions
    }

    /// The same for one puzzle, segment by segment.
    pub fn trace(&self, cells: &[u8; CELLS], segments: usize) -> Vec<SegmentTrace> {
        let mut board = self.board(false);
        let mut traces = Vec::new();
        let start = Carry::new(self, 1);
        let (mut z_h, mut z_l) = (start.z_h, start.z_l);
        self.answer(&mut board, cells, segments, |board| {
            let logits = digit_logits(board);
            let solved = is_solution(cells, &logits);
            traces.push(SegmentTrace {
                logits,
                output_update: root_mean_square_change(&z_h, &board.z_h),
                latent_update: root_mean_square_change(&z_l, &board.z_l),
            });
            z_h.copy_from_slice(&board.z_h);
            z_l.copy_from_slice(&board.z_l);
            solved
        });
        traces
    }

    /// Segments of one puzzle until `is_solved` says so of the board.
    fn answer(
        &self,
        board: &mut Board,
        cells: &[u8],
        segments: usize,
        mut is_solved: impl FnMut(&Board) -> bool,
    ) {
        self.begin(board, cells);
        for _ in 0..segments {
            self.segment(board);
            if is_solved(board) {
                return;
            }
        }
    }

    fn begin(&self, board: &mut Board, cells: &[u8]) {
        let d = self.config().hidden_size;
        let network = self.network();
        for (state, start) in [(&mut board.z_h, network.h_init), (&mut board.z_l, network.l_init)] {
            let start = &self.weights()[start];
            state.chunks_exact_mut(d).for_each(|token| token.copy_from_slice(&start.data));
        }
        self.embed(board, cells);
    }
}

/// The logits of the nine digits, as softmax takes them.
fn digit_logits(board: &Board) -> Vec<f32> {
    let first = usize::from(BLANK) + 1;
    let rows = board.logits.chunks_exact(VOCABULARY);
    rows.flat_map(|row| row[first..].iter().map(|logit| log_stable(*logit))).collect()
}

fn root_mean_square_change(before: &[f32], after: &[f32]) -> f32 {
    let squares: f32 = before.iter().zip(after).map(|(b, a)| (a - b) * (a - b)).sum();
    (squares / before.len() as f32).sqrt()
}
