//! Where the numbers of an operand stand: strips of tiles, and how they are packed.
//!
//! A strip is 16 rows of a left operand, or 16 columns of a right one, over the whole inner dimension: one tile behind the
//! other, each 16 rows of 16 words. A word is a pair of bfloat16 numbers that follow each other in the inner dimension, the
//! first in the low half. A tile of a left operand has the pairs side by side, one of a right operand has them below each
//! other.

use super::pair;
use crate::level::{Level, level};
use crate::vectorize;
use aligned_vec::{AVec, ConstAlign};
use std::ops::{Deref, DerefMut};

/// Rows of a tile, and words in each.
pub(crate) const TILE: usize = 16;
/// Words of a tile.
pub(crate) const TILE_WORDS: usize = TILE * TILE;
/// Numbers of the inner dimension in a tile.
const NUMBERS: usize = 2 * TILE;

/// Words of strips: a row of a tile is a line of the cache, and tiles are loaded at a sixth of the speed where it is not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words(AVec<u32, ConstAlign<64>>);

impl Default for Words {
    fn default() -> Self {
        Self(AVec::new(64))
    }
}

impl Deref for Words {
    type Target = AVec<u32, ConstAlign<64>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Pairs of a strip for an inner dimension: those of whole tiles.
pub(crate) fn strip_pairs(inner: usize) -> usize {
    inner.div_ceil(NUMBERS) * TILE
}

/// Which way the inner dimension runs in a row-major matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// Along its rows.
    Along,
    /// Down its columns.
    Down,
}

/// What a strip is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Pairs side by side.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "tiles of the left are those of AMX"))]
    Left,
    /// Pairs below each other.
    Right,
}

/// Packs `matrix`, rows of `stride` numbers of which the first `cols` count. Missing numbers of the inner dimension and
/// missing rows or columns of the last strip are zeros.
///
/// # Shapes
/// `words` has `strip_pairs(inner) * 16` words for each strip.
pub(crate) fn pack_strips(
    matrix: &[f32],
    [cols, stride]: [usize; 2],
    (inner, side): (Inner, Side),
    words: &mut [u32],
) {
    let rows = if stride == 0 { 0 } else { (matrix.len() + stride - cols) / stride };
    let (length, width) = match inner {
        Inner::Along => (cols, rows),
        Inner::Down => (rows, cols),
    };
    let steps = strip_pairs(length) / TILE;
    assert!(words.len() >= width.next_multiple_of(TILE) * steps * TILE, "room for all strips");
    let tile = tile_packer(inner, side);
    let strips = width.div_ceil(TILE);
    let mut pack = |strip: usize, step: usize| {
        let (first, target) = (strip * TILE, &mut words[(strip * steps + step) * TILE_WORDS..]);
        let (row, col) = match inner {
            Inner::Along => (first, step * NUMBERS),
            Inner::Down => (step * NUMBERS, first),
        };
        let target = target.first_chunk_mut().expect("room for all tiles");
        tile(&matrix[row * stride + col..], stride, [rows - row, cols - col], target);
    };
    // Rows of the matrix are read from left to right.
    match inner {
        Inner::Along => (0..strips).for_each(|strip| (0..steps).for_each(|step| pack(strip, step))),
        Inner::Down => (0..steps).for_each(|step| (0..strips).for_each(|strip| pack(strip, step))),
    }
}

/// Packs the tile that starts with the first number of a matrix, which has so many rows and columns from there on.
pub(crate) type TilePacker = fn(&[f32], usize, [usize; 2], &mut [u32; TILE_WORDS]);

fn tile_packer(inner: Inner, side: Side) -> TilePacker {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx512Bf16 {
        return crate::x86_64::bf16_tiles::packer(inner, side);
    }
    let _ = level;
    match (inner, side) {
        (Inner::Along, Side::Left) => portable::<true, false>,
        (Inner::Along, Side::Right) => portable::<true, true>,
        (Inner::Down, Side::Right) => portable::<false, false>,
        (Inner::Down, Side::Left) => portable::<false, true>,
    }
}

fn portable<const ALONG: bool, const TRANSPOSE: bool>(
    matrix: &[f32],
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut [u32; TILE_WORDS],
) {
    vectorize(
        #[inline(always)]
        || {
            let mut tile = [[0; TILE]; TILE];
            let row = |r: usize, width: usize| -> [f32; NUMBERS] {
                let mut numbers = [0.0; NUMBERS];
                if r < rows {
                    let width = width.min(cols);
                    numbers[..width].copy_from_slice(&matrix[r * stride..][..width]);
                }
                numbers
            };
            for (i, words) in tile.iter_mut().enumerate() {
                if ALONG {
                    let row = row(i, NUMBERS);
                    *words = std::array::from_fn(|p| pair(row[2 * p], row[2 * p + 1]));
                } else {
                    let [low, high] = [row(2 * i, TILE), row(2 * i + 1, TILE)];
                    *words = std::array::from_fn(|c| pair(low[c], high[c]));
                }
            }
            for (i, words) in target.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
                *words = if TRANSPOSE { std::array::from_fn(|j| tile[j][i]) } else { tile[i] };
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at_level;
    use crate::reference::{numbers, transpose};

    fn packed(level: Level, matrix: &[f32], shape: [usize; 2], how: (Inner, Side), words: usize) -> Vec<u32> {
        let mut packed = vec![u32::MAX; words];
        at_level(level, || pack_strips(matrix, shape, how, &mut packed));
        packed
    }

    #[test]
    fn every_number_finds_its_place_at_every_level() {
        for (rows, cols) in [(1, 1), (2, 63), (16, 32), (33, 16), (47, 95)] {
            let (matrix, stride) = (numbers(rows * cols, 2), cols);
            for (inner, side) in
                [Inner::Along, Inner::Down].into_iter().flat_map(|i| [(i, Side::Left), (i, Side::Right)])
            {
                let (length, width) = if inner == Inner::Along { (cols, rows) } else { (rows, cols) };
                let pairs = strip_pairs(length);
                let words = width.next_multiple_of(TILE) * pairs;
                let at = |i: usize, k: usize| match inner {
                    _ if i >= width || k >= length => 0.0,
                    Inner::Along => matrix[i * cols + k],
                    Inner::Down => matrix[k * cols + i],
                };
                let mut want = vec![0; words];
                for (i, p) in (0..width.next_multiple_of(TILE)).flat_map(|i| (0..pairs).map(move |p| (i, p)))
                {
                    let tile = (i / TILE * pairs / TILE + p / TILE) * TILE_WORDS;
                    let place = match side {
                        Side::Left => i % TILE * TILE + p % TILE,
                        Side::Right => p % TILE * TILE + i % TILE,
                    };
                    want[tile + place] = pair(at(i, 2 * p), at(i, 2 * p + 1));
                }
                for level in Level::available() {
                    let got = packed(level, &matrix, [cols, stride], (inner, side), words);
                    assert!(got == want, "[{rows}, {cols}], {inner:?}, {side:?} at {}", level.name());
                }
            }
        }
    }

    #[test]
    fn some_columns_of_a_matrix_are_packed_alone() {
        let (rows, cols, first, width) = (35, 50, 7, 21);
        let matrix = numbers(rows * cols, 3);
        let part: Vec<f32> = matrix.chunks(cols).flat_map(|row| row[first..first + width].to_vec()).collect();
        let words = width.next_multiple_of(TILE) * strip_pairs(rows);
        let how = (Inner::Down, Side::Left);
        for level in Level::available() {
            let got = packed(
                level,
                &matrix[first..matrix.len() - (cols - first - width)],
                [width, cols],
                how,
                words,
            );
            assert!(got == packed(level, &part, [width, width], how, words));
            let transposed = transpose(rows, width, &part);
            assert!(got == packed(level, &transposed, [rows, rows], (Inner::Along, Side::Left), words));
        }
    }
}
