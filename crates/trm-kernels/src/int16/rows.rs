//! Left operands that are kept.

use super::tile::Kernel;
use super::{Round, STRIP, Turn};
use crate::bf16::Words;
use crate::vectorize;
use std::ops::Range;

/// Words of a strip of a row.
const STRIP_WORDS: usize = STRIP / 2;

/// A matrix `[rows, inner]` of 16-bit whole numbers, laid out as the left operand of products and as both operands of products
/// over its rows ([`weight_gradient_int16`](super::weight_gradient_int16)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int16Rows {
    rows: usize,
    inner: usize,
    /// Row-major, two numbers to a word, the first in the low half; up to a multiple of 16 numbers a row has zeros.
    words: Words,
    /// What a number of each row counts, `[rows]`.
    steps: Vec<f32>,
}

impl Int16Rows {
    /// Zeros.
    pub fn zeros(rows: usize, inner: usize) -> Self {
        let mut zeros = Self::default();
        zeros.resize([rows, inner]);
        zeros
    }

    /// Rounds a row-major `[rows, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [rows, inner]: [usize; 2], matrix: &[f32]) {
        self.resize([rows, inner]);
        self.store(0..rows, matrix);
    }

    /// Takes another shape; the numbers are zeros if it is another.
    pub fn resize(&mut self, [rows, inner]: [usize; 2]) {
        if [self.rows, self.inner] != [rows, inner] {
            [self.rows, self.inner] = [rows, inner];
            let words = rows * self.stride();
            self.words.clear();
            self.words.resize(words, 0);
            self.steps.clear();
            self.steps.resize(rows, 0.0);
        }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a row.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Memory of a row, in f32 numbers.
    pub fn values_per_row(inner: usize) -> usize {
        inner.next_multiple_of(STRIP) / 2 + 1
    }

    /// Rounds and stores some rows, `[rows, inner]`. A row that holds a number that is not finite stands for numbers that are not
    /// finite.
    ///
    /// # Panics
    /// If there are no such rows, or the slice has another length.
    pub fn store(&mut self, rows: Range<usize>, values: &[f32]) {
        assert_eq!(values.len(), rows.len() * self.inner, "values are [rows, inner]");
        let (stride, inner) = (self.stride(), self.inner);
        if inner == 0 {
            return;
        }
        let words = &mut self.words[rows.start * stride..rows.end * stride];
        let numbers = bytemuck::cast_slice_mut(words);
        (Kernel::of_level().round)(Round { values, width: inner, numbers, steps: &mut self.steps[rows] });
    }

    /// Reads some rows, `[rows, inner]`.
    ///
    /// # Panics
    /// As [`Self::store`].
    pub fn load(&self, rows: Range<usize>, values: &mut [f32]) {
        assert_eq!(values.len(), rows.len() * self.inner, "values are [rows, inner]");
        let (stride, inner) = (self.stride(), self.inner);
        if inner == 0 {
            return;
        }
        let words = &self.words[rows.start * stride..rows.end * stride];
        let steps = &self.steps[rows];
        vectorize(
            #[inline(always)]
            || {
                let rows = values.chunks_exact_mut(inner).zip(words.chunks_exact(stride));
                for ((row, words), step) in rows.zip(steps) {
                    let numbers: &[i16] = bytemuck::cast_slice(words);
                    for (value, number) in row.iter_mut().zip(numbers) {
                        *value = f32::from(*number) * step;
                    }
                }
            },
        );
    }

    /// Words from row to row.
    pub(super) fn stride(&self) -> usize {
        self.inner.next_multiple_of(STRIP) / 2
    }

    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    pub(super) fn steps(&self) -> &[f32] {
        &self.steps
    }

    /// Some rows of a strip of 16 columns, to be turned.
    pub(super) fn turn<'a>(
        &'a self,
        rows: &Range<usize>,
        strip: usize,
        shares: &'a [i16],
        turned: &'a mut [u32],
    ) -> Turn<'a> {
        let stride = self.stride();
        let rows = &self.words[rows.start * stride + strip * STRIP_WORDS..rows.end * stride];
        Turn { rows, stride, shares, turned }
    }
}
