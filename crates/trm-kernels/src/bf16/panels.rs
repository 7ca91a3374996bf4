//! Right operands in bfloat16.

use super::strips::{Packing, pack, strip_words};
use crate::layout::{PANEL, Strips, TILE, Words};

/// A matrix `[inner, cols]` in bfloat16, laid out as the right operand of products.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bf16Panels {
    inner: usize,
    cols: usize,
    /// Strips of 16 columns, four to a panel; missing numbers and columns are zeros.
    words: Words,
}

impl Bf16Panels {
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

    /// The strips from the one on that starts with a column.
    pub(super) fn at_column(&self, column: usize) -> Strips<'_> {
        Strips { words: &self.words, stride: strip_words(self.inner) }.skip(column / TILE, 0)
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
            let (mut panels, mut transposed) = (Bf16Panels::default(), Bf16Panels::default());
            panels.pack([inner, cols], &matrix);
            transposed.pack_transposed([inner, cols], &transpose(inner, cols, &matrix));
            assert_eq!(panels, transposed, "[{inner}, {cols}]");
        }
    }
}
