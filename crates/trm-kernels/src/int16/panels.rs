//! Right operands.

use super::{STRIP, round, scale};
use crate::bf16::Words;
use crate::math::largest_magnitude;
use crate::vectorize;

/// A matrix `[inner, cols]` of 16-bit whole numbers, laid out as the right operand of products.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int16Panels {
    inner: usize,
    cols: usize,
    /// Panels of 16 columns, `[pairs, 16]` each: words of two numbers that follow each other in a column, the first in the low
    /// half. Missing numbers and columns are zeros.
    words: Words,
    /// What a number of each column counts, `[cols]` up to whole panels.
    steps: Vec<f32>,
}

impl Int16Panels {
    /// Rounds a row-major `[inner, cols]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [inner, cols]: [usize; 2], matrix: &[f32]) {
        assert_eq!(matrix.len(), inner * cols, "matrix is [inner, cols]");
        self.resize([inner, cols]);
        let panel_words = self.pairs() * STRIP;
        vectorize(
            #[inline(always)]
            || {
                for (j, steps) in self.steps.chunks_exact_mut(STRIP).enumerate() {
                    let first = j * STRIP;
                    let width = STRIP.min(cols - first);
                    let rows = || matrix.chunks_exact(cols).map(|row| &row[first..first + width]);
                    let mut most = [0u32; STRIP];
                    for row in rows() {
                        for (most, value) in most.iter_mut().zip(row) {
                            *most = (*most).max(value.to_bits() & 0x7fff_ffff);
                        }
                    }
                    let mut per_steps = [0.0; STRIP];
                    for ((step, per), most) in steps.iter_mut().zip(&mut per_steps).zip(most) {
                        [*step, *per] = scale(f32::from_bits(most));
                    }
                    let panel = &mut self.words[j * panel_words..][..panel_words];
                    for (k, row) in rows().enumerate() {
                        let words = &mut panel[k / 2 * STRIP..][..width];
                        for ((word, value), per_step) in words.iter_mut().zip(row).zip(&per_steps) {
                            let number = u32::from(round(value * per_step).cast_unsigned());
                            *word = if k % 2 == 0 { number } else { *word | number << 16 };
                        }
                    }
                }
            },
        );
    }

    /// Rounds the transpose of a row-major `[cols, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack_transposed(&mut self, [inner, cols]: [usize; 2], transpose: &[f32]) {
        assert_eq!(transpose.len(), inner * cols, "transpose is [cols, inner]");
        self.resize([inner, cols]);
        let panel_words = self.pairs() * STRIP;
        vectorize(
            #[inline(always)]
            || {
                for (c, column) in transpose.chunks_exact(inner.max(1)).enumerate() {
                    let per_step;
                    [self.steps[c], per_step] = scale(largest_magnitude(column));
                    let words = &mut self.words[c / STRIP * panel_words..][..panel_words];
                    for (words, pair) in words.chunks_exact_mut(STRIP).zip(column.chunks(2)) {
                        let number = |i: usize| pair.get(i).map_or(0, |value| round(value * per_step));
                        let [low, high] = [number(0), number(1)].map(|n| u32::from(n.cast_unsigned()));
                        words[c % STRIP] = low | high << 16;
                    }
                }
            },
        );
    }

    fn resize(&mut self, [inner, cols]: [usize; 2]) {
        if [self.inner, self.cols] != [inner, cols] {
            [self.inner, self.cols] = [inner, cols];
            let (columns, pairs) = (cols.next_multiple_of(STRIP), self.pairs());
            self.words.clear();
            self.words.resize(columns * pairs, 0);
            self.steps.clear();
            self.steps.resize(columns, 0.0);
        }
    }

    /// Rows.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Pairs of rows, the second of the last of them perhaps zeros.
    pub(super) fn pairs(&self) -> usize {
        self.inner.div_ceil(2)
    }

    /// The words of a panel, and what its columns count.
    pub(super) fn panel(&self, panel: usize) -> (&[u32], &[f32; STRIP]) {
        let words = self.pairs() * STRIP;
        let steps = self.steps[panel * STRIP..].first_chunk().expect("steps of whole panels");
        (&self.words[panel * words..][..words], steps)
    }
}
