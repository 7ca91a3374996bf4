//! Right operands.

use super::strips::{Inner, Side, TILE, Words, pack_strips, strip_pairs};

/// Columns of a panel: four strips, and four registers of sixteen f32 sums.
pub const PANEL: usize = 64;

/// A matrix `[inner, cols]` in bfloat16, laid out for products from the left.
///
/// It is made of strips of 16 columns: word `16 p + c` of a strip holds rows `2p` (low half) and `2p + 1` of column c. Missing
/// columns, up to a whole panel, and rows, up to a multiple of 32, are zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panels {
    inner: usize,
    cols: usize,
    words: Words,
}

impl Panels {
    /// Packs a row-major `[inner, cols]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [inner, cols]: [usize; 2], matrix: &[f32]) {
        assert_eq!(matrix.len(), inner * cols, "matrix is [inner, cols]");
        self.resize([inner, cols]);
        pack_strips(matrix, [cols, cols], (Inner::Down, Side::Right), &mut self.words);
    }

    /// Packs the transpose of a row-major `[cols, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack_transposed(&mut self, [inner, cols]: [usize; 2], transpose: &[f32]) {
        assert_eq!(transpose.len(), inner * cols, "transpose is [cols, inner]");
        self.resize([inner, cols]);
        pack_strips(transpose, [inner, inner], (Inner::Along, Side::Right), &mut self.words);
    }

    fn resize(&mut self, [inner, cols]: [usize; 2]) {
        if (self.inner, self.cols) != (inner, cols) {
            (self.inner, self.cols) = (inner, cols);
            self.words.clear();
            self.words.resize(strip_pairs(inner) * cols.next_multiple_of(PANEL), 0);
        }
    }

    /// Rows.
    pub(crate) fn inner(&self) -> usize {
        self.inner
    }

    /// Columns.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Pairs of rows in a strip.
    pub(crate) fn strip_pairs(&self) -> usize {
        strip_pairs(self.inner)
    }

    /// The strips from the one on that starts with column `first`.
    pub(crate) fn from(&self, first: usize) -> &[u32] {
        &self.words[first / TILE * self.strip_pairs() * TILE..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{numbers, transpose};

    #[test]
    fn both_ways_of_packing_give_the_same_panels() {
        for (inner, cols) in [(0, 5), (1, 1), (2, 63), (7, 64), (33, 131)] {
            let matrix = numbers(inner * cols, 2);
            let (mut panels, mut transposed) = (Panels::default(), Panels::default());
            panels.pack([inner, cols], &matrix);
            transposed.pack_transposed([inner, cols], &transpose(inner, cols, &matrix));
            assert_eq!(panels, transposed, "[{inner}, {cols}]");
        }
    }
}
