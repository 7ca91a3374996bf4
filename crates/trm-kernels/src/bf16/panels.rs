//! Right operands.

use super::strips::{Packing, Strips, TILE, Words, pack, strip_words};

/// Columns of a panel: four strips, and four registers of sixteen f32 sums.
pub const PANEL: usize = 64;

/// A matrix `[inner, cols]` in bfloat16, laid out as the right operand of products.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panels {
    inner: usize,
    cols: usize,
    /// Strips of 16 columns, four to a panel; missing numbers and columns are zeros.
    words: Words,
}

impl Panels {
    /// Packs a row-major `[inner, cols]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [inner, cols]: [usize; 2], matrix: &[f32]) {
        self.resize([inner, cols]);
        pack(Packing::Right, [inner, cols], matrix, (&mut self.words, strip_words(inner)));
    }

    /// Packs the transpose of a row-major `[cols, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack_transposed(&mut self, [inner, cols]: [usize; 2], transpose: &[f32]) {
        self.resize([inner, cols]);
        pack(Packing::RightOfTranspose, [cols, inner], transpose, (&mut self.words, strip_words(inner)));
    }

    fn resize(&mut self, [inner, cols]: [usize; 2]) {
        if (self.inner, self.cols) != (inner, cols) {
            (self.inner, self.cols) = (inner, cols);
            self.words.clear();
            self.words.resize(cols.next_multiple_of(PANEL) / TILE * strip_words(inner), 0);
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

    /// The strips from the one on that starts with column `first`.
    pub(crate) fn from(&self, first: usize) -> Strips<'_> {
        Strips { words: &self.words, stride: strip_words(self.inner) }.from(first / TILE, 0)
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
