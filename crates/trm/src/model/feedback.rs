//! The answer goes back into the state: after the first outer cycle the stack R sees `x_emb + F p`, where p is the softmax of
//! the logits after the cycle before.

use super::cycle_tape::Recording;
use crate::config::NetworkConfig;
use crate::ops::{
    Format, PackedWeight, add_scaled, linear_backward_input, linear_backward_weight, product,
    softmax_backward, softmax_rows,
};
use crate::sudoku::DIGITS;
use trm_kernels::Overwrite;

/// What the feedback of some puzzles needs, with a row for each cell.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// `x_emb + F p`, or x_emb in the first cycle, `[rows, d]`.
    pub seen: Vec<f32>,
    /// Gradient of `seen` in one outer cycle, `[rows, d]`.
    pub d_seen: Vec<f32>,
    /// d loss / d F, `[d, 9]`.
    pub d_weight: Vec<f32>,
    /// Answers taken since the recursion started.
    taken: usize,
    /// p of each outer cycle's answer, `[rows, 9]` each; one slot where nothing is recorded.
    probabilities: Vec<Vec<f32>>,
    d_probabilities: Vec<f32>,
}

impl Feedback {
    /// Room for some rows, if `config` feeds back.
    pub fn new(config: &NetworkConfig, rows: usize, recording: Recording) -> Option<Self> {
        let (d, training) = (config.hidden_dim, recording != Recording::Nothing);
        let of_training = |values: usize| vec![0.0; if training { values } else { 0 }];
        let slots = if training { config.h_cycles } else { 1 };
        config.feedback.then(|| Self {
            seen: vec![0.0; rows * d],
            d_seen: of_training(rows * d),
            d_weight: of_training(DIGITS * d),
            taken: 0,
            probabilities: vec![vec![0.0; rows * DIGITS]; slots],
            d_probabilities: of_training(rows * DIGITS),
        })
    }

    /// f32 values for each row.
    pub fn values_per_row(config: &NetworkConfig, recording: Recording) -> usize {
        let d = config.hidden_dim;
        match (config.feedback, recording) {
            (false, _) => 0,
            (true, Recording::Nothing) => d + DIGITS,
            (true, _) => 2 * d + DIGITS * (config.h_cycles + 1),
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

    /// Takes the logits, `[rows, 9]`, after an outer cycle.
    pub fn take(&mut self, logits: &[f32]) {
        let slot = self.taken % self.probabilities.len();
        self.probabilities[slot].copy_from_slice(logits);
        softmax_rows(&mut self.probabilities[slot], DIGITS);
        self.taken += 1;
    }

    /// What outer cycle h sees: x_emb and, but for the first, the answer before it.
    pub fn see(&mut self, h: usize, x_emb: &[f32], weight: &PackedWeight) {
        self.seen.copy_from_slice(x_emb);
        if h > 0 {
            let p = &self.probabilities[(h - 1) % self.probabilities.len()];
            product(p.len() / DIGITS, p, weight, &mut self.seen, Overwrite::No);
        }
    }

    /// What the outer cycle after the newest answer sees.
    pub fn see_newest(&mut self, x_emb: &[f32], weight: &PackedWeight) {
        self.see(self.taken, x_emb, weight);
    }

    /// Adds to `d_logits` of outer cycle h, and to the gradient of F, what the cycle after it saw.
    pub fn backward(&mut self, h: usize, weight: &PackedWeight, d_logits: &mut [f32]) {
        let p = &self.probabilities[h];
        let rows = p.len() / DIGITS;
        linear_backward_weight(rows, p, &self.d_seen, 0, &mut self.d_weight, Format::F32);
        linear_backward_input(rows, &self.d_seen, weight, &mut self.d_probabilities);
        softmax_backward(p, DIGITS, &mut self.d_probabilities);
        add_scaled(d_logits, 1.0, &self.d_probabilities);
    }
}
