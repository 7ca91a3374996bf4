//! Where the bfloat16 numbers of an operand stand: strips of tiles.
//!
//! A tile is 16 rows of 16 words. A word is a pair of bfloat16 numbers that follow each other in the inner dimension, the
//! first in the low half. A tile of a left operand has the pairs side by side, one of a right operand has them below each
//! other.

use super::{pair, unpair};
use crate::layout::{TILE, TILE_WORDS};
#[cfg(target_arch = "x86_64")]
use crate::level::{Avx512, Avx512Bf16};
use crate::vectorize;

/// Numbers of the inner dimension in a tile.
pub(crate) const TILE_NUMBERS: usize = 2 * TILE;

/// A tile in memory.
pub(crate) type TileWords = [u32; TILE_WORDS];

/// Words of a strip for an inner dimension: whole tiles.
pub(crate) fn strip_words(inner: usize) -> usize {
    inner.div_ceil(TILE_NUMBERS) * TILE_WORDS
}

/// How a row-major matrix becomes an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// `[rows, inner]` to a left operand.
    Left,
    /// `[inner, cols]` to a right operand.
    Right,
    /// `[cols, inner]` to a right operand.
    RightOfTranspose,
}

/// Packs `[rows, cols]` numbers, zeros where the last strips and tiles have no others.
///
/// # Shapes
/// `words` start with the first tile; strips are `stride` words apart.
pub(crate) fn pack(
    packing: Packing,
    [rows, cols]: [usize; 2],
    matrix: &[f32],
    (words, stride): (&mut [u32], usize),
) {
    assert_eq!(matrix.len(), rows * cols, "the matrix is [rows, cols]");
    let packer = Packer::of_level();
    let mut pack = |strip: usize, tile: usize, row: usize, col: usize| {
        let target =
            words[strip * stride + tile * TILE_WORDS..].first_chunk_mut().expect("room for all tiles");
        packer.pack(packing, &matrix[row * cols + col..], cols, [rows - row, cols - col], target);
    };
    // The matrix is read from left to right.
    let starts = |length: usize, step: usize| (0..length).step_by(step).enumerate();
    match packing {
        Packing::Left | Packing::RightOfTranspose => {
            for (strip, row) in starts(rows, TILE) {
                starts(cols, TILE_NUMBERS).for_each(|(tile, col)| pack(strip, tile, row, col));
            }
        }
        Packing::Right => {
            for (tile, row) in starts(rows, TILE_NUMBERS) {
                starts(cols, TILE).for_each(|(strip, col)| pack(strip, tile, row, col));
            }
        }
    }
}

/// What packs a tile.
#[derive(Clone, Copy)]
enum Packer {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

impl Packer {
    /// The packer of the level in use.
    fn of_level() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Avx512Bf16::in_use() {
            return Self::Avx512Bf16(cpu);
        }
        Self::Portable
    }

    /// Packs the tile that starts with the first number of a matrix, whose rows are `stride` numbers apart and which has so many
    /// rows and columns from there on.
    #[inline(always)]
    fn pack(self, packing: Packing, matrix: &[f32], stride: usize, size: [usize; 2], target: &mut TileWords) {
        match self {
            Self::Portable => match packing {
                Packing::Left => pack_tile::<false, false>(matrix, stride, size, target),
                Packing::Right => pack_tile::<true, false>(matrix, stride, size, target),
                Packing::RightOfTranspose => pack_tile::<false, true>(matrix, stride, size, target),
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(cpu) => {
                crate::x86_64::bf16_tiles::pack(cpu, packing, matrix, stride, size, target);
            }
        }
    }
}

fn pack_tile<const DOWN: bool, const TRANSPOSE: bool>(
    matrix: &[f32],
    stride: usize,
    [rows, cols]: [usize; 2],
    target: &mut TileWords,
) {
    vectorize(
        #[inline(always)]
        || {
            let row = |r: usize, width: usize| -> [f32; TILE_NUMBERS] {
                let mut numbers = [0.0; TILE_NUMBERS];
                if r < rows {
                    let width = width.min(cols);
                    numbers[..width].copy_from_slice(&matrix[r * stride..][..width]);
                }
                numbers
            };
            let mut tile = [[0; TILE]; TILE];
            for (i, words) in tile.iter_mut().enumerate() {
                if DOWN {
                    let [low, high] = [row(2 * i, TILE), row(2 * i + 1, TILE)];
                    *words = std::array::from_fn(|c| pair(low[c], high[c]));
                } else {
                    let row = row(i, TILE_NUMBERS);
                    *words = std::array::from_fn(|p| pair(row[2 * p], row[2 * p + 1]));
                }
            }
            put(&tile, TRANSPOSE, target);
        },
    );
}

#[inline(always)]
fn put(tile: &[[u32; TILE]; TILE], transpose: bool, target: &mut TileWords) {
    for (i, words) in target.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
        *words = if transpose { std::array::from_fn(|j| tile[j][i]) } else { tile[i] };
    }
}

/// Makes two tiles for products over rows out of two tiles of rows, one below the other: the first has the first 16 numbers
/// of each row, the second the others, and pairs are neighbouring rows. They are tiles of a right operand, or, if `LEFT`, of
/// the transpose as a left operand.
pub(crate) fn turn<const LEFT: bool>(rows: [&TileWords; 2], targets: [&mut TileWords; 2]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Avx512::in_use() {
        return crate::x86_64::bf16_tiles::turn::<LEFT>(cpu, rows, targets);
    }
    for (half, target) in targets.into_iter().enumerate() {
        let word = |r: usize, i: usize| rows[r / TILE][r % TILE * TILE + half * TILE / 2 + i / 2];
        let number = |r: usize, i: usize| word(r, i) >> (16 * (i % 2)) & 0xffff;
        let tile =
            std::array::from_fn(|p| std::array::from_fn(|i| number(2 * p, i) | number(2 * p + 1, i) << 16));
        put(&tile, LEFT, target);
    }
}

/// The numbers of a tile of rows, as far as the target has rows, `stride` numbers apart, and columns.
pub(crate) fn unpack_tile(tile: &TileWords, target: &mut [f32], stride: usize, [rows, cols]: [usize; 2]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Avx512::in_use() {
        return crate::x86_64::bf16_tiles::unpack(cpu, tile, target, stride, [rows, cols]);
    }
    for (words, target) in tile.as_chunks::<TILE>().0.iter().zip(target.chunks_mut(stride)).take(rows) {
        for (word, numbers) in words.iter().zip(target[..cols.min(TILE_NUMBERS)].chunks_mut(2)) {
            numbers.copy_from_slice(&unpair(*word)[..numbers.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::numbers;
    use crate::{Level, at_level};

    #[test]
    fn every_number_finds_its_place_at_every_level() {
        for (rows, cols) in [(1, 1), (2, 63), (16, 32), (33, 16), (47, 95)] {
            let matrix = numbers(rows * cols, 2);
            for packing in [Packing::Left, Packing::Right, Packing::RightOfTranspose] {
                let down = packing == Packing::Right;
                let (inner, width) = if down { (rows, cols) } else { (cols, rows) };
                let stride = strip_words(inner);
                let at = |i: usize, k: usize| match down {
                    _ if i >= width || k >= inner => 0.0,
                    true => matrix[k * cols + i],
                    false => matrix[i * cols + k],
                };
                let mut want = vec![0; width.div_ceil(TILE) * stride];
                for (i, p) in
                    (0..width.next_multiple_of(TILE)).flat_map(|i| (0..stride / TILE).map(move |p| (i, p)))
                {
                    let tile = i / TILE * stride + p / TILE * TILE_WORDS;
                    let place = match packing {
                        Packing::Left => i % TILE * TILE + p % TILE,
                        Packing::Right | Packing::RightOfTranspose => p % TILE * TILE + i % TILE,
                    };
                    want[tile + place] = pair(at(i, 2 * p), at(i, 2 * p + 1));
                }
                for level in Level::available() {
                    let mut got = vec![u32::MAX; want.len()];
                    at_level(level, || pack(packing, [rows, cols], &matrix, (&mut got, stride)));
                    assert!(got == want, "[{rows}, {cols}], {packing:?} at {}", level.name());
                }
            }
        }
    }

    #[test]
    fn turned_tiles_are_those_of_the_transpose_at_every_level() {
        let matrix = numbers(2 * TILE * TILE_NUMBERS, 3);
        let transpose = crate::reference::transpose(2 * TILE, TILE_NUMBERS, &matrix);
        let square = [TILE_NUMBERS; 2];
        let packed = |packing, matrix: &[f32]| {
            let mut words = vec![0; 2 * TILE_WORDS];
            pack(packing, square, matrix, (&mut words, TILE_WORDS));
            words
        };
        let rows = packed(Packing::Left, &matrix);
        let [upper, lower] = [0, TILE_WORDS].map(|at| rows[at..].first_chunk().expect("two tiles"));
        for level in Level::available() {
            let [mut left, mut right] = [[[0; TILE_WORDS]; 2]; 2];
            at_level(level, || {
                turn::<true>([upper, lower], left.each_mut());
                turn::<false>([upper, lower], right.each_mut());
            });
            assert!(left.as_flattened() == packed(Packing::Left, &transpose), "left at {}", level.name());
            assert!(right.as_flattened() == packed(Packing::Right, &matrix), "right at {}", level.name());
        }
    }
}
