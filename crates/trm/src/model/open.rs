//! The rows of a shard whose only puzzle has a vector for each candidate that its givens leave open.

use crate::sudoku::{DIGITS, OpenCandidates, Units};
use std::sync::Arc;

/// Logit of a candidate without a vector: too small to be anything but impossible.
const CLOSED: f32 = -1e4;

/// The candidates that the rows of a shard stand for, and the logits that are read off the rows.
#[derive(Clone, Debug)]
pub struct OpenRows {
    candidates: Vec<usize>,
    /// A logit for each candidate. The backward pass replaces the logits by their gradient.
    pub logits: Vec<f32>,
}

impl OpenRows {
    /// The rows of a puzzle, and the units that the rows form. `cells` are the 81 digits of the puzzle, 0 for blanks.
    pub fn of(cells: &[u8]) -> (Self, Arc<[Units]>) {
        let open = OpenCandidates::of(cells);
        (Self { logits: vec![0.0; open.candidates.len()], candidates: open.candidates }, open.units)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Sets the one-hot input of each row: channel 1 for a candidate that is assumed, channel 0 for others. `assumed`
    /// is `[81]`, digits, 0 for none.
    pub fn mark(&self, assumed: &[u8], inputs: &mut [u8]) {
        for (t, input) in self.candidates.iter().zip(inputs) {
            *input = u8::from(usize::from(assumed[t / DIGITS]) == t % DIGITS + 1);
        }
    }

    /// The logits of all candidates, `[81, 9]`: closed ones, but for the givens, are impossible.
    pub fn spread_logits(&self, cells: &[u8], all: &mut [f32]) {
        all.fill(CLOSED);
        for (digits, given) in all.chunks_exact_mut(DIGITS).zip(cells).filter(|(_, given)| **given > 0) {
            digits[usize::from(*given) - 1] = 0.0;
        }
        self.candidates.iter().zip(&self.logits).for_each(|(t, logit)| all[*t] = *logit);
    }

    /// Copies the gradient of the rows' logits from the gradient of the logits of all candidates, `[81, 9]`.
    pub fn gather_logits(&mut self, all: &[f32]) {
        self.candidates.iter().zip(&mut self.logits).for_each(|(t, logit)| *logit = all[*t]);
    }

    /// Copies the vectors of the open candidates, `[rows, d]`, from the vectors of all candidates, `[729, d]`.
    pub fn gather(&self, all: &[f32], rows: &mut [f32]) {
        let d = all.len() / OpenCandidates::ALL;
        for (t, row) in self.candidates.iter().zip(rows.chunks_exact_mut(d)) {
            row.copy_from_slice(&all[t * d..(t + 1) * d]);
        }
    }

    /// Copies the vectors of the open candidates, `[rows, d]`, back to the vectors of all candidates, `[729, d]`. The
    /// vectors of closed candidates stay as they are.
    pub fn scatter(&self, rows: &[f32], all: &mut [f32]) {
        let d = all.len() / OpenCandidates::ALL;
        for (t, row) in self.candidates.iter().zip(rows.chunks_exact(d)) {
            all[t * d..(t + 1) * d].copy_from_slice(row);
        }
    }
}
