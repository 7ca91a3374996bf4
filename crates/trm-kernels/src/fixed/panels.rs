//! Right operands in fixed-point numbers.

use super::kernel::Kernel;
use super::{Fixed, STRIP, nearest};
use crate::layout::Words;
use crate::math::largest_magnitude;
use crate::vectorize;

/// A matrix `[inner, cols]` of fixed-point numbers, laid out as the right operand of products.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FixedPanels {
    fixed: Fixed,
    inner: usize,
    cols: usize,
    /// Panels of 16 columns, `[column words, 16]` each: words of numbers that follow each other in a column, the first in the lowest
    /// bits. Missing numbers and columns are zeros.
    words: Words,
    /// What a number of each column counts, `[cols]` up to whole panels.
    steps: Vec<f32>,
    /// What a sum of each column starts at, `[cols]` up to whole panels.
    firsts: Vec<i32>,
}

/// Sixteen columns.
pub(super) struct StripColumns<'a> {
    /// `[column words, 16]`
    pub words: &'a [u32],
    pub steps: &'a [f32; STRIP],
    pub firsts: &'a [i32; STRIP],
}

impl FixedPanels {
    /// A matrix without numbers.
    pub fn new(fixed: Fixed) -> Self {
        let (words, steps, firsts) = Default::default();
        Self { fixed, inner: 0, cols: 0, words, steps, firsts }
    }

    /// Rounds a row-major `[inner, cols]` matrix.
    ///
    /// # Panics
    /// If the slice has another length, or the matrix has more than 2^18 rows of bytes.
    pub fn pack(&mut self, [inner, cols]: [usize; 2], matrix: &[f32]) {
        assert_eq!(matrix.len(), inner * cols, "matrix is [inner, cols]");
        self.resize([inner, cols]);
        let (fixed, panel_words) = (self.fixed, self.column_words() * STRIP);
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
                        [*step, *per] = fixed.scale(f32::from_bits(most));
                    }
                    let panel = &mut self.words[j * panel_words..][..panel_words];
                    for (k, row) in rows().enumerate() {
                        let place = k % fixed.in_word();
                        let words = &mut panel[k / fixed.in_word() * STRIP..][..width];
                        for ((word, value), per_step) in words.iter_mut().zip(row).zip(&per_steps) {
                            let number = fixed.in_place(nearest(value * per_step), place);
                            *word = if place == 0 { number } else { *word | number };
                        }
                    }
                }
            },
        );
        self.choose_firsts();
    }

    /// Rounds the transpose of a row-major `[cols, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length, or the matrix has more than 2^18 rows of bytes.
    pub fn pack_transposed(&mut self, [inner, cols]: [usize; 2], transpose: &[f32]) {
        assert_eq!(transpose.len(), inner * cols, "transpose is [cols, inner]");
        self.resize([inner, cols]);
        let (fixed, panel_words) = (self.fixed, self.column_words() * STRIP);
        vectorize(
            #[inline(always)]
            || {
                for (c, column) in transpose.chunks_exact(inner.max(1)).enumerate() {
                    let per_step;
                    [self.steps[c], per_step] = fixed.scale(largest_magnitude(column));
                    let words = &mut self.words[c / STRIP * panel_words..][..panel_words];
                    for (words, numbers) in words.chunks_exact_mut(STRIP).zip(column.chunks(fixed.in_word()))
                    {
                        let numbers = numbers.iter().enumerate();
                        words[c % STRIP] = numbers
                            .map(|(place, value)| fixed.in_place(nearest(value * per_step), place))
                            .fold(0, |word, number| word | number);
                    }
                }
            },
        );
        self.choose_firsts();
    }

    fn resize(&mut self, [inner, cols]: [usize; 2]) {
        assert!(self.fixed != Fixed::Seven || inner <= self.fixed.longest_sum(), "a column is one sum");
        if [self.inner, self.cols] != [inner, cols] {
            [self.inner, self.cols] = [inner, cols];
            let (columns, words) = (cols.next_multiple_of(STRIP), self.column_words());
            self.words.clear();
            self.words.resize(columns * words, 0);
            self.steps.clear();
            self.steps.resize(columns, 0.0);
            self.firsts.clear();
            self.firsts.resize(columns, 0);
        }
    }

    fn choose_firsts(&mut self) {
        let (kernel, panel_words) = (Kernel::of_level(), self.column_words() * STRIP);
        for (j, firsts) in self.firsts.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
            *firsts = kernel.firsts(self.fixed, &self.words[j * panel_words..][..panel_words]);
        }
    }

    /// What its numbers are.
    pub(crate) fn fixed(&self) -> Fixed {
        self.fixed
    }

    /// Rows.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Words of a column, the last numbers perhaps zeros.
    pub(super) fn column_words(&self) -> usize {
        self.inner.div_ceil(self.fixed.in_word())
    }

    /// Sixteen columns, from 16 times the panel's number on.
    pub(super) fn panel(&self, panel: usize) -> StripColumns<'_> {
        let words = self.column_words() * STRIP;
        StripColumns {
            words: &self.words[panel * words..][..words],
            steps: self.steps[panel * STRIP..].first_chunk().expect("steps of whole panels"),
            firsts: self.firsts[panel * STRIP..].first_chunk().expect("first sums of whole panels"),
        }
    }
}
