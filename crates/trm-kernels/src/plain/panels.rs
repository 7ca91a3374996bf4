//! A right operand of f32 numbers in panels. Each panel is a matrix of few columns for `gemm`. Its rows lie one behind
//! the other; in a wide matrix each row would lie on a page of memory of its own.

use super::{Rhs, strided};
use crate::layout::{PANEL, Start};
use crate::vectorize;
use std::ops::Range;

/// A matrix `[inner, cols]`, laid out for products from the left.
///
/// Panel j holds columns `64 j ..` as a row-major matrix; the last may have fewer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct F32Panels {
    inner: usize,
    cols: usize,
    values: Vec<f32>,
}

impl F32Panels {
    /// Rows.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Packs a row-major `[inner, cols]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [inner, cols]: [usize; 2], matrix: &[f32]) {
        assert_eq!(matrix.len(), inner * cols, "matrix is [inner, cols]");
        self.resize([inner, cols]);
        for first in (0..cols).step_by(PANEL) {
            let columns = first..(first + PANEL).min(cols);
            let rows = self.values[first * inner..columns.end * inner].chunks_exact_mut(columns.len());
            for (target, row) in rows.zip(matrix.chunks_exact(cols)) {
                target.copy_from_slice(&row[columns.clone()]);
            }
        }
    }

    /// Packs the transpose of a row-major `[cols, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack_transposed(&mut self, [inner, cols]: [usize; 2], transpose: &[f32]) {
        /// Numbers of each row that are moved at once: a line of the cache.
        const LINE: usize = 16;
        assert_eq!(transpose.len(), inner * cols, "transpose is [cols, inner]");
        self.resize([inner, cols]);
        let panels =
            self.values.chunks_mut((PANEL * inner).max(1)).zip(transpose.chunks((PANEL * inner).max(1)));
        vectorize(
            #[inline(always)]
            || {
                for (panel, columns) in panels {
                    let width = panel.len() / inner;
                    for first in (0..inner).step_by(LINE) {
                        for (c, column) in columns.chunks_exact(inner).enumerate() {
                            let numbers = &column[first..(first + LINE).min(inner)];
                            for (k, value) in (first..).zip(numbers) {
                                panel[k * width + c] = *value;
                            }
                        }
                    }
                }
            },
        );
    }

    fn resize(&mut self, [inner, cols]: [usize; 2]) {
        (self.inner, self.cols) = (inner, cols);
        self.values.resize(inner * cols, 0.0);
    }
}

/// Some columns of `a b`, from a whole panel on, and what they start from.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, or the columns do not lie inside b.
pub(crate) fn multiply(
    rows: usize,
    a: &[f32],
    (b, columns): (&F32Panels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    if rows == 0 {
        return;
    }
    let stride = columns.len();
    let overwrite = start.without_bias(dst, stride);
    for first in columns.clone().step_by(PANEL) {
        let (width, used) = (PANEL.min(b.cols - first), PANEL.min(columns.end - first));
        let panel = Rhs { values: &b.values[first * b.inner..(first + width) * b.inner], stride: width };
        let dst = (&mut dst[first - columns.start..], stride);
        strided([rows, b.inner, used], (a, [b.inner, 1]), panel, dst, overwrite);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{numbers, transpose};

    #[test]
    fn both_ways_of_packing_give_the_same_panels() {
        for (inner, cols) in [(0, 5), (1, 1), (2, 63), (17, 64), (33, 131)] {
            let matrix = numbers(inner * cols, 2);
            let (mut panels, mut transposed) = (F32Panels::default(), F32Panels::default());
            panels.pack([inner, cols], &matrix);
            transposed.pack_transposed([inner, cols], &transpose(inner, cols, &matrix));
            assert_eq!(panels, transposed, "[{inner}, {cols}]");
        }
    }
}
