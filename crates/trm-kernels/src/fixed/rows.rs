//! Left operands in fixed-point numbers.

use super::kernel::Kernel;
use super::{Fixed, STRIP, Side, Turn, Unrounded};
use crate::layout::Words;
use crate::vectorize;
use std::ops::Range;

/// A matrix `[rows, inner]` of fixed-point numbers, laid out as the left operand of products and as both operands of products
/// over its rows ([`weight_gradient`](super::weight_gradient)).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FixedRows {
    fixed: Fixed,
    rows: usize,
    inner: usize,
    /// Row-major, the first number of a word in its lowest bits; a row goes up to a multiple of 16 numbers, and what is behind its
    /// last is multiplied by zeros.
    words: Words,
    /// What a number of each row counts, `[rows]`.
    steps: Vec<f32>,
}

impl FixedRows {
    /// No rows yet.
    pub fn new(fixed: Fixed) -> Self {
        Self { fixed, rows: 0, inner: 0, words: Words::default(), steps: Vec::new() }
    }

    /// Zeros.
    #[cfg(test)]
    pub fn zeros(fixed: Fixed, rows: usize, inner: usize) -> Self {
        let mut zeros = Self::new(fixed);
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

    /// Changes the shape to `[rows, inner]`. If the shape is another than before, all numbers are zero.
    pub fn resize(&mut self, [rows, inner]: [usize; 2]) {
        if [self.rows, self.inner] != [rows, inner] {
            [self.rows, self.inner] = [rows, inner];
            let words = rows * self.stride();
            self.words.clear();
            self.words.resize(words, 0);
            // A step of 0 makes zeros of all numbers.
            self.steps.clear();
            self.steps.resize(rows, 0.0);
        }
    }

    /// What its numbers are.
    pub(crate) fn fixed(&self) -> Fixed {
        self.fixed
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
    pub(crate) fn values_per_row(fixed: Fixed, inner: usize) -> usize {
        fixed.row_words(inner) + 1
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
        Kernel::of_level().round(Unrounded {
            fixed: self.fixed,
            values,
            width: inner,
            words: &mut self.words[rows.start * stride..rows.end * stride],
            steps: &mut self.steps[rows],
        });
    }

    /// Reads some rows, `[rows, inner]`.
    ///
    /// # Panics
    /// If there are no such rows, or the slice has another length.
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
                    match self.fixed {
                        Fixed::Twelve => {
                            for (value, number) in row.iter_mut().zip(bytemuck::cast_slice::<_, i16>(words)) {
                                *value = f32::from(*number) * step;
                            }
                        }
                        Fixed::Seven => {
                            for (value, number) in row.iter_mut().zip(bytemuck::cast_slice::<_, u8>(words)) {
                                *value = (i32::from(*number) - Fixed::Seven.zero()) as f32 * step;
                            }
                        }
                    }
                }
            },
        );
    }

    /// Words from row to row.
    pub(super) fn stride(&self) -> usize {
        self.fixed.row_words(self.inner)
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
        (shares, side): (&'a [i16], Side),
        turned: &'a mut [u32],
    ) -> Turn<'a> {
        let stride = self.stride();
        let first = rows.start * stride + strip * STRIP / self.fixed.in_word();
        let words = &self.words[first..rows.end * stride];
        Turn { fixed: self.fixed, side, words, stride, shares, turned }
    }
}
