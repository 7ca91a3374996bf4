//! Matrix products of bfloat16 numbers with f32 sums: half the memory traffic and twice the speed of f32 on CPUs that
//! multiply bfloat16 natively, at 8 bits of mantissa.
//!
//! Operands are packed once and used many times: [`Panels`] on the right, [`PackedRows`] on the left. Every element of a
//! product is one sum in the order of the inner dimension, whatever the number of rows, so results do not depend on how rows
//! are shared out.

mod panels;
mod rows;
mod strips;

use crate::level::{Level, level};
use crate::{Overwrite, widened};
pub use panels::{PANEL, Panels};
pub use rows::PackedRows;
use std::cell::RefCell;
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
pub(crate) use strips::{Packing, TILE_NUMBERS, TilePacker, TileWords};
pub(crate) use strips::{Strips, TILE, TILE_WORDS, Words};

/// Rows that are multiplied at once where there are no tiles: 24 registers of sums, 4 of the panel, 1 of the left operand.
pub(crate) const BLOCK: usize = 6;

/// Two numbers rounded to bfloat16, the first in the low half.
#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    round(low) >> 16 | round(high) & 0xffff_0000
}

/// The numbers of a pair.
#[inline(always)]
pub(crate) fn unpair(word: u32) -> [f32; 2] {
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

/// Rounds to the nearest bfloat16, ties to even, which is left in the high half; NaN stays NaN.
#[inline(always)]
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if value.is_nan() { bits | 0x0040_0000 } else { rounded }
}

thread_local! {
    /// The left operand of a product that packs it.
    static LEFT: RefCell<PackedRows> = RefCell::default();
}

/// `dst = a b` or `dst += a b`, both operands rounded to bfloat16.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul_bf16(rows: usize, a: &[f32], b: &Panels, dst: &mut [f32], overwrite: Overwrite) {
    LEFT.with_borrow_mut(|left| {
        left.pack([rows, b.inner()], a);
        matmul_packed(left, (b, 0..b.cols()), dst, overwrite);
    });
}

/// Columns `first .. first + dst.len()` of `a b` for a single row a, or added to `dst`: what threads share of a product
/// that has no rows to be shared. Every element has the bits that [`matmul_bf16`] gives it.
///
/// # Shapes
/// `a` is `[1, inner]`, `b` is `[inner, cols]`.
///
/// # Panics
/// If `a` has another length, `first` is no multiple of [`PANEL`], or the columns do not lie inside b.
pub fn row_matmul_bf16(a: &[f32], b: &Panels, first: usize, dst: &mut [f32], overwrite: Overwrite) {
    LEFT.with_borrow_mut(|left| {
        left.pack([1, b.inner()], a);
        matmul_packed(left, (b, first..first + dst.len()), dst, overwrite);
    });
}

/// Some columns of `a b`, from a whole panel on, or added to `dst`. Every element has the bits that [`matmul_bf16`] gives it.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`.
///
/// # Panics
/// If the shapes do not fit, the first column is no multiple of [`PANEL`], or the columns do not lie inside b.
pub fn matmul_packed(
    a: &PackedRows,
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(a.inner(), b.inner(), "a is [rows, inner], b is [inner, cols]");
    assert_eq!(dst.len(), a.rows() * columns.len(), "dst is [rows, columns]");
    assert!(
        columns.start.is_multiple_of(PANEL) && columns.end <= b.cols(),
        "columns of b from a whole panel on"
    );
    multiply(Product {
        rows: a.rows(),
        cols: columns.len(),
        pairs: b.inner().div_ceil(2),
        left: a.strips(),
        right: b.from(columns.start),
        dst,
        dst_stride: columns.len(),
        overwrite,
    });
}

/// `d_weight += d^T x`, summed over the pairs of d and x: the gradient of a weight matrix. Sums go on where the last pair's
/// ended, so that it makes no difference how many calls add them.
///
/// # Shapes
/// Each d is `[rows, out]`, of which the columns `outputs` are used, each x is `[rows, inputs]`; rows may differ from pair to
/// pair. `d_weight` is `[outputs, inputs]`.
///
/// # Panics
/// If the shapes do not fit, or the first output is no multiple of 32.
pub fn weight_gradient_bf16(
    pairs: &[(&PackedRows, &PackedRows)],
    outputs: Range<usize>,
    d_weight: &mut [f32],
) {
    /// Tiles of the inner dimension in one pass.
    const PASS: usize = 8;
    thread_local! {
        /// d^T and x of a pass, the latter a panel at a time.
        static OPERANDS: RefCell<[Words; 2]> = RefCell::default();
    }
    let Some((_, x)) = pairs.first() else { return };
    let inputs = x.inner();
    assert_eq!(d_weight.len(), outputs.len() * inputs, "d_weight is [outputs, inputs]");
    assert!(outputs.start.is_multiple_of(strips::TILE_NUMBERS), "outputs from a whole tile on");
    for (d, x) in pairs {
        assert!(
            d.rows() == x.rows() && x.inner() == inputs && outputs.end <= d.inner(),
            "d and x have the same rows"
        );
    }
    let steps: Vec<_> =
        pairs.iter().flat_map(|pair| (0..pair.0.double_strips()).map(move |k| (pair, k))).collect();
    OPERANDS.with_borrow_mut(|[left, right]| {
        for steps in steps.chunks(PASS) {
            let stride = steps.len() * TILE_WORDS;
            left.resize(outputs.len().next_multiple_of(2 * TILE) / TILE * stride, 0);
            right.resize(PANEL / TILE * stride, 0);
            for (step, ((d, _), k)) in steps.iter().enumerate() {
                turn_tiles::<true>(d, *k, outputs.clone(), (left, step, stride));
            }
            for first in (0..inputs).step_by(PANEL) {
                let columns = first..(first + PANEL).min(inputs);
                for (step, ((_, x), k)) in steps.iter().enumerate() {
                    turn_tiles::<false>(x, *k, columns.clone(), (right, step, stride));
                }
                multiply(Product {
                    rows: outputs.len(),
                    cols: columns.len(),
                    pairs: stride / TILE,
                    left: Strips { words: left, stride },
                    right: Strips { words: right, stride },
                    dst: &mut d_weight[first..],
                    dst_stride: inputs,
                    overwrite: Overwrite::No,
                });
            }
        }
    });
}

/// Turns 32 rows of some columns into a step of the inner dimension.
fn turn_tiles<const LEFT: bool>(
    rows: &PackedRows,
    double_strip: usize,
    columns: Range<usize>,
    (words, step, stride): (&mut [u32], usize, usize),
) {
    let first = columns.start / strips::TILE_NUMBERS;
    for (i, words) in
        words.chunks_exact_mut(2 * stride).take(columns.len().div_ceil(strips::TILE_NUMBERS)).enumerate()
    {
        let (upper, lower) = words.split_at_mut(stride);
        let targets =
            [upper, lower].map(|strip| strip[step * TILE_WORDS..].first_chunk_mut().expect("whole tiles"));
        strips::turn::<LEFT>(rows.double_tile(double_strip, first + i), targets);
    }
}

/// `dst = left right` or `dst += left right`.
pub(crate) struct Product<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Pairs of the inner dimension; up to whole tiles there are zeros.
    pub pairs: usize,
    /// Strips of all rows, up to a whole block of 32 or to the last of 16.
    pub left: Strips<'a>,
    /// Strips of all columns, up to whole panels.
    pub right: Strips<'a>,
    /// `[rows, cols]`, rows `dst_stride` numbers apart.
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub overwrite: Overwrite,
}

fn multiply(product: Product) {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Amx && product.pairs > 0 {
        return crate::x86_64::amx::multiply(product);
    }
    let Product { rows, cols, pairs, left, right, dst, dst_stride, overwrite } = product;
    if pairs == 0 {
        if overwrite == Overwrite::Yes {
            dst.chunks_mut(dst_stride.max(1)).take(rows).for_each(|row| row[..cols].fill(0.0));
        }
        return;
    }
    let run = kernel(level());
    for first_col in (0..cols).step_by(PANEL) {
        let panel = right.from(first_col / TILE, 0);
        for (strip, first_row) in (0..rows).step_by(TILE).enumerate() {
            let strip_rows = TILE.min(rows - first_row);
            for first in (0..strip_rows).step_by(BLOCK) {
                run(Tile {
                    rows: BLOCK.min(strip_rows - first),
                    cols: PANEL.min(cols - first_col),
                    pairs,
                    left: &left.from(strip, 0).words[first * TILE..],
                    panel,
                    dst: &mut dst[(first_row + first) * dst_stride + first_col..],
                    dst_stride,
                    overwrite,
                });
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn rounding_is_to_the_nearest_even() {
        for value in [0.0, -0.0, 1.0, 1.0 + 1.0 / 256.0, -3.3, 1e38, f32::INFINITY, 1e-40] {
            assert_eq!(round(value) >> 16, u32::from(bf16::from_f32(value).to_bits()), "{value}");
        }
        assert!(f32::from_bits(round(f32::NAN) & 0xffff_0000).is_nan());
    }
}
