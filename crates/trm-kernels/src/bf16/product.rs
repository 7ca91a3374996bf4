//! Products of packed operands, block by block, at the level in use.

use super::strips::{Strips, TILE, TILE_WORDS};
use super::{BLOCK, PANEL};
use crate::level::{Level, level};
use crate::{Overwrite, widened};
use std::ops::Range;

/// What the sums of a product start from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start<'a, T = f32> {
    /// Nothing: the destination is overwritten.
    Zeros,
    /// One number for each column: the destination is overwritten.
    Bias(&'a [T]),
    /// What the destination holds.
    Sums,
}

impl<T> Start<'_, T> {
    /// For the columns from one on.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn from(self, column: usize) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(&bias[column..]),
            start => start,
        }
    }

    /// For some columns.
    pub(crate) fn of(self, columns: &Range<usize>) -> Self {
        match self {
            Self::Bias(bias) => Self::Bias(&bias[columns.clone()]),
            start => start,
        }
    }
}

impl From<Overwrite> for Start<'_> {
    fn from(overwrite: Overwrite) -> Self {
        if overwrite == Overwrite::Yes { Self::Zeros } else { Self::Sums }
    }
}

impl<'a> Start<'a> {
    /// The same for kernels that know no bias, which is in the rows of `dst` then.
    pub(crate) fn without_bias(self, dst: &mut [f32], stride: usize) -> Overwrite {
        match self {
            Self::Zeros => Overwrite::Yes,
            Self::Bias(bias) => {
                dst.chunks_mut(stride.max(1)).for_each(|row| row[..bias.len()].copy_from_slice(bias));
                Overwrite::No
            }
            Self::Sums => Overwrite::No,
        }
    }
}

/// Some rows and columns of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows.
    pub rows: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
}

/// All columns of `[rows, cols]`, as many whole panels of 64 columns at a time as `buffer` has room for: `make` fills them, `take`
/// gets some rows at a time, which come to the first-level cache once for all that it does.
pub(crate) fn in_parts(
    [rows, cols]: [usize; 2],
    buffer: &mut [f32],
    mut make: impl FnMut(Range<usize>, &mut [f32]),
    mut take: impl FnMut(Part, &mut [f32]),
) {
    /// Rows that are taken at a time.
    const HEIGHT: usize = 4 * TILE;
    let panels = buffer.len() / (rows * PANEL).max(1);
    assert!(panels > 0, "room for a panel");
    for first in (0..cols).step_by(panels * PANEL) {
        let columns = first..(first + panels * PANEL).min(cols);
        let part = &mut buffer[..rows * columns.len()];
        make(columns.clone(), part);
        for (i, values) in part.chunks_mut(HEIGHT * columns.len()).enumerate() {
            let first = i * HEIGHT;
            let rows = first..first + values.len() / columns.len();
            take(Part { rows, columns: columns.clone() }, values);
        }
    }
}

/// `left right`, and what it starts from.
pub(crate) struct Product<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Pairs of the inner dimension; up to whole tiles there are zeros.
    pub pairs: usize,
    /// Strips of all rows, up to a whole block of 32 or to the last of 16.
    pub left: Strips<'a>,
    /// Strips of all columns, up to whole panels.
    pub right: Strips<'a>,
    pub start: Start<'a>,
}

/// A product to `dst`, `[rows, cols]`, whose rows are `stride` numbers apart.
pub(crate) fn multiply(product: Product, dst: &mut [f32], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Amx && product.pairs > 0 {
        return crate::x86_64::amx::multiply(product, dst, stride);
    }
    let Product { rows, cols, pairs, left, right, start } = product;
    let overwrite = start.without_bias(dst, stride);
    if pairs == 0 {
        if overwrite == Overwrite::Yes {
            dst.chunks_mut(stride.max(1)).take(rows).for_each(|row| row[..cols].fill(0.0));
        }
        return;
    }
    for first_col in (0..cols).step_by(PANEL) {
        let panel = right.from(first_col / TILE, 0);
        let width = PANEL.min(cols - first_col);
        for (strip, first_row) in (0..rows).step_by(TILE).enumerate() {
            let size = [TILE.min(rows - first_row), width];
            let dst = &mut dst[first_row * stride + first_col..];
            strip_by_panel(size, pairs, [left.from(strip, 0), panel], (dst, stride), overwrite);
        }
    }
}

/// Up to 16 rows by up to 64 columns. There are pairs.
fn strip_by_panel(
    [rows, cols]: [usize; 2],
    pairs: usize,
    [left, panel]: [Strips; 2],
    (dst, dst_stride): (&mut [f32], usize),
    overwrite: Overwrite,
) {
    let run = kernel(level());
    for first in (0..rows).step_by(BLOCK) {
        run(Tile {
            rows: BLOCK.min(rows - first),
            cols,
            pairs,
            left: &left.words[first * TILE..],
            panel,
            dst: &mut dst[first * dst_stride..],
            dst_stride,
            overwrite,
        });
    }
}

/// What computes a tile.
fn kernel(level: Level) -> fn(Tile) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 => crate::x86_64::avx512_bf16::run,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 | Level::Avx512Vnni => crate::x86_64::fma::run,
        _ => widened::run,
    }
}

/// Up to 6 by 64 elements of a product.
pub(crate) struct Tile<'a> {
    pub rows: usize,
    pub cols: usize,
    pub pairs: usize,
    /// From the first row on; see [`left_word`].
    pub left: &'a [u32],
    /// The strips of the columns.
    pub panel: Strips<'a>,
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub overwrite: Overwrite,
}

/// Where in a strip row r has pair p.
#[inline(always)]
pub(crate) fn left_word(r: usize, p: usize) -> usize {
    p / TILE * TILE_WORDS + r * TILE + p % TILE
}
