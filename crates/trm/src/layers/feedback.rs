//! The answer goes back into the state: after the first outer cycle the stack R sees `x_emb + F p`, where p is the softmax of
//! the logits after the cycle before.

use super::turn;
use crate::network::{First, Id, Layout, PackedWeights, Role, Room, RowSums};
use crate::ops::{
    Format, add_scaled, linear_backward_input, linear_backward_weight, product, softmax_backward,
    softmax_rows,
};
use crate::sudoku::DIGITS;
use trm_kernels::Overwrite;

/// F, `[d, 9]`.
#[derive(Clone, Copy, Debug)]
pub struct Feedback {
    weight: Id,
}

/// The answers of some puzzles that went back, with a row for each cell.
#[derive(Clone, Debug)]
pub struct Answers {
    /// `x_emb + F p`, or x_emb in the first cycle, `[rows, d]`.
    pub seen: Vec<f32>,
    /// Gradient of `seen` in one outer cycle, `[rows, d]`.
    pub d_seen: Vec<f32>,
    /// Answers taken since the recursion started.
    taken: usize,
    /// p of each outer cycle's answer, `[rows, 9]` each; one slot where nothing is recorded.
    probabilities: Vec<Vec<f32>>,
    d_probabilities: Vec<f32>,
}

impl Answers {
    /// Room for `rows` rows of d numbers: of every one of `cycles` outer cycles for a backward pass, else of the newest.
    pub fn new(rows: usize, d: usize, cycles: Option<usize>, room: &mut Room) -> Self {
        let of_training = if cycles.is_some() { rows } else { 0 };
        Self {
            seen: room.floats(rows * d),
            d_seen: room.floats(of_training * d),
            taken: 0,
            probabilities: room.times(cycles.unwrap_or(1), |room| room.floats(rows * DIGITS)),
            d_probabilities: room.floats(of_training * DIGITS),
        }
    }

    /// Takes another number of rows.
    pub fn resize(&mut self, rows: usize, d: usize) {
        self.seen.resize(rows * d, 0.0);
        self.probabilities.iter_mut().for_each(|p| p.resize(rows * DIGITS, 0.0));
        if !self.d_seen.is_empty() {
            self.d_seen.resize(rows * d, 0.0);
            self.d_probabilities.resize(rows * DIGITS, 0.0);
        }
    }

    /// Forgets the answers: the recursion starts again, or was given another puzzle.
    pub fn restart(&mut self) {
        self.taken = 0;
    }
}

impl Feedback {
    /// `feedback.weight`.
    pub fn new(layout: &mut Layout, d: usize, channels: usize, scale: f32) -> Self {
        let first = First::uniform(channels, turn::CELL_INPUTS).times(scale);
        Self { weight: layout.add("feedback.weight", &[d, DIGITS], Role::Feedback, first) }
    }

    /// Takes the logits, `[rows, 9]`, after an outer cycle.
    pub fn take(&self, answers: &mut Answers, logits: &[f32]) {
        let slot = answers.taken % answers.probabilities.len();
        answers.probabilities[slot].copy_from_slice(logits);
        softmax_rows(&mut answers.probabilities[slot], DIGITS);
        answers.taken += 1;
    }

    /// The input of outer cycle h: x_emb and, except in the first cycle, the answer of the cycle before.
    pub fn see(&self, w: &PackedWeights, answers: &mut Answers, h: usize, x_emb: &[f32]) {
        answers.seen.copy_from_slice(x_emb);
        if h > 0 {
            let p = &answers.probabilities[(h - 1) % answers.probabilities.len()];
            product(p.len() / DIGITS, p, &w[self.weight], &mut answers.seen, Overwrite::No);
        }
    }

    /// The input of the outer cycle after the newest answer.
    pub fn see_newest(&self, w: &PackedWeights, answers: &mut Answers, x_emb: &[f32]) {
        self.see(w, answers, answers.taken, x_emb);
    }

    /// Adds to `d_logits` of outer cycle h, and to the gradient of F, what the cycle after it saw.
    pub fn backward(
        &self,
        w: &PackedWeights,
        answers: &mut Answers,
        sums: &mut RowSums,
        h: usize,
        d_logits: &mut [f32],
    ) {
        let p = &answers.probabilities[h];
        let rows = p.len() / DIGITS;
        linear_backward_weight(rows, p, &answers.d_seen, 0, &mut sums[self.weight], Format::F32);
        linear_backward_input(rows, &answers.d_seen, &w[self.weight], &mut answers.d_probabilities);
        softmax_backward(p, DIGITS, &mut answers.d_probabilities);
        add_scaled(d_logits, 1.0, &answers.d_probabilities);
    }
}
