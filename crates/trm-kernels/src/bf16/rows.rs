//! Left operands in bfloat16.

use super::strips::{Packing, TILE_NUMBERS, TileWords, pack, strip_words, unpack_tile};
use crate::layout::{Part, Strips, TILE, TILE_WORDS, Words};
use std::ops::Range;

/// A matrix `[rows, inner]` in bfloat16, laid out as the left operand of products and as both operands of products over its
/// rows ([`weight_gradient`](super::weight_gradient)).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bf16Rows {
    rows: usize,
    inner: usize,
    /// Strips of 16 rows, an even number of them; missing rows and numbers are zeros.
    words: Words,
}

impl Bf16Rows {
    /// Zeros.
    #[cfg(test)]
    pub fn zeros(rows: usize, inner: usize) -> Self {
        let mut zeros = Self::default();
        zeros.resize([rows, inner]);
        zeros
    }

    /// Changes the shape to `[rows, inner]`. If the shape is another than before, all numbers are zero.
    pub fn resize(&mut self, [rows, inner]: [usize; 2]) {
        if [self.rows, self.inner] != [rows, inner] {
            self.words.clear();
            self.reshape([rows, inner]);
        }
    }

    fn reshape(&mut self, [rows, inner]: [usize; 2]) {
        (self.rows, self.inner) = (rows, inner);
        self.words.resize(rows.next_multiple_of(2 * TILE) / TILE * strip_words(inner), 0);
    }

    /// Packs a row-major `[rows, inner]` matrix.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn pack(&mut self, [rows, inner]: [usize; 2], matrix: &[f32]) {
        self.reshape([rows, inner]);
        let stride = strip_words(inner);
        pack(Packing::Left, [rows, inner], matrix, (&mut self.words, stride));
        let used = rows.div_ceil(TILE) * stride;
        self.words[used..].fill(0);
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a row.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Rounds and stores a part, `[rows, columns]`.
    ///
    /// # Panics
    /// If there is no such part, it does not start with a strip of 16 rows and a tile of 32 columns, it does not end with one
    /// unless it ends with the matrix, or the slice has another length.
    pub fn store(&mut self, part: &Part, values: &[f32]) {
        let first = self.first_word(part);
        let stride = strip_words(self.inner);
        let size = [part.rows.len(), part.columns.len()];
        pack(Packing::Left, size, values, (&mut self.words[first..], stride));
    }

    /// Reads a part, `[rows, columns]`.
    ///
    /// # Panics
    /// If there is no such part, it does not start with a strip of 16 rows and a tile of 32 columns, it does not end with one
    /// unless it ends with the matrix, or the slice has another length.
    pub fn load(&self, part: &Part, values: &mut [f32]) {
        let first = self.first_word(part);
        let (rows, width) = (part.rows.len(), part.columns.len());
        assert_eq!(values.len(), rows * width, "values are [rows, columns]");
        let strips = Strips { words: &self.words[first..], stride: strip_words(self.inner) };
        for (strip, row) in (0..rows).step_by(TILE).enumerate() {
            for (tile, col) in (0..width).step_by(TILE_NUMBERS).enumerate() {
                let tile = strips.skip(strip, tile).words.first_chunk().expect("room for all tiles");
                unpack_tile(tile, &mut values[row * width + col..], width, [rows - row, width - col]);
            }
        }
    }

    fn first_word(&self, Part { rows, columns }: &Part) -> usize {
        let is_whole = |range: &Range<usize>, size: usize, all: usize| {
            let ends = range.end.is_multiple_of(size) || range.end == all;
            range.start.is_multiple_of(size) && ends && range.end <= all
        };
        assert!(is_whole(rows, TILE, self.rows), "whole strips of rows");
        assert!(is_whole(columns, TILE_NUMBERS, self.inner), "whole tiles of columns");
        rows.start / TILE * strip_words(self.inner) + columns.start / TILE_NUMBERS * TILE_WORDS
    }

    pub(crate) fn strips(&self) -> Strips<'_> {
        Strips { words: &self.words, stride: strip_words(self.inner) }
    }

    /// Number of 32 rows, the last of them perhaps less.
    pub(crate) fn double_strips(&self) -> usize {
        self.rows.div_ceil(2 * TILE)
    }

    /// A tile of the inner dimension of 32 rows.
    pub(crate) fn double_tile(&self, double_strip: usize, tile: usize) -> [&TileWords; 2] {
        [0, 1].map(|half| {
            let words = self.strips().skip(2 * double_strip + half, tile).words;
            words.first_chunk().expect("room for all tiles")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::numbers;
    use crate::{Level, at_level};
    use half::bf16;

    #[test]
    fn parts_are_stored_and_loaded_at_every_level() {
        for [rows, inner] in [[1, 1], [16, 64], [17, 33], [40, 95]] {
            let matrix = numbers(rows * inner, 4);
            for level in Level::available() {
                at_level(level, || {
                    let mut whole = Bf16Rows::default();
                    whole.pack([rows, inner], &matrix);
                    let mut parts = Bf16Rows::zeros(rows, inner);
                    let firsts = (0..rows).step_by(TILE);
                    let firsts =
                        firsts.flat_map(|row| (0..inner).step_by(TILE_NUMBERS).map(move |col| (row, col)));
                    for (row, col) in firsts {
                        let part = Part {
                            rows: row..(row + TILE).min(rows),
                            columns: col..(col + TILE_NUMBERS).min(inner),
                        };
                        let of_row = |r: usize| matrix[r * inner..][part.columns.clone()].to_vec();
                        let values: Vec<f32> = part.rows.clone().flat_map(of_row).collect();
                        parts.store(&part, &values);
                        let mut loaded = vec![9.0; values.len()];
                        parts.load(&part, &mut loaded);
                        let rounded = |v: &f32| bf16::from_f32(*v).to_f32();
                        assert!(
                            values.iter().map(rounded).eq(loaded),
                            "[{rows}, {inner}] at {}",
                            level.name()
                        );
                    }
                    assert!(parts == whole, "[{rows}, {inner}] at {}", level.name());
                });
            }
        }
    }

    #[test]
    fn numbers_of_an_earlier_shape_are_gone() {
        let mut rows = Bf16Rows::default();
        rows.pack([40, 64], &vec![1.0; 40 * 64]);
        rows.pack([3, 32], &vec![2.0; 3 * 32]);
        let mut fresh = Bf16Rows::zeros(3, 32);
        fresh.store(&Part { rows: 0..3, columns: 0..32 }, &vec![2.0; 3 * 32]);
        assert!(rows == fresh);
        rows.resize([40, 64]);
        assert!(rows == Bf16Rows::zeros(40, 64));
    }
}
