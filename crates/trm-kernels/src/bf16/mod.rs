//! Matrix products of bfloat16 numbers with f32 sums: half the memory traffic and twice the speed of f32 on CPUs that
//! multiply bfloat16 natively, at 8 bits of mantissa.
//!
//! Operands are packed once and used many times: [`Panels`] on the right, [`PackedRows`] on the left. Every element of a
//! product is one sum in the order of the inner dimension, whatever the number of rows, so results do not depend on how rows
//! are shared out.

mod panels;
mod product;
mod rows;
mod strips;

use crate::Overwrite;
pub use panels::{PANEL, Panels};
use product::multiply;
pub use product::{Part, Start};
pub(crate) use product::{Product, Tile, in_parts, left_word};
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
        matmul_packed(left, (b, 0..b.cols()), dst, overwrite.into());
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
        matmul_packed(left, (b, first..first + dst.len()), dst, overwrite.into());
    });
}

/// Some columns of `a b`, from a whole panel on, and what they start from. Every element has the bits that [`matmul_bf16`] gives
/// it.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, the first column is no multiple of [`PANEL`], or the columns do not lie inside b.
pub fn matmul_packed(a: &PackedRows, (b, columns): (&Panels, Range<usize>), dst: &mut [f32], start: Start) {
    assert_eq!(dst.len(), a.rows() * columns.len(), "dst is [rows, columns]");
    let stride = columns.len();
    multiply(product(a, (b, columns), start), dst, stride);
}

/// All of `a b`, and a bias or zeros to start from, in parts that are as many whole panels of 64 columns as `buffer` has room
/// for: `take` gets each, `[rows, columns]`, while it is in the cache. Every element has the bits that [`matmul_bf16`] gives
/// it.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, a bias is `[cols]`; `buffer` has room for a panel, `[rows, 64]`.
///
/// # Panics
/// If the shapes do not fit.
pub fn matmul_in_parts(
    a: &PackedRows,
    b: &Panels,
    start: Start,
    buffer: &mut [f32],
    take: impl FnMut(Part, &mut [f32]),
) {
    assert!(start != Start::Sums, "there is no destination to start from");
    let make = |columns: Range<usize>, part: &mut [f32]| {
        matmul_packed(a, (b, columns.clone()), part, start.of(&columns));
    };
    in_parts([a.rows(), b.cols()], buffer, make, take);
}

fn product<'a>(a: &'a PackedRows, (b, columns): (&'a Panels, Range<usize>), start: Start<'a>) -> Product<'a> {
    assert_eq!(a.inner(), b.inner(), "a is [rows, inner], b is [inner, cols]");
    assert!(
        columns.start.is_multiple_of(PANEL) && columns.end <= b.cols(),
        "columns of b from a whole panel on"
    );
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), columns.len(), "a bias for each column");
    }
    let [rows, cols, pairs] = [a.rows(), columns.len(), b.inner().div_ceil(2)];
    Product { rows, cols, pairs, left: a.strips(), right: b.from(columns.start), start }
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
    const PASS: usize = 16;
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
                let product = Product {
                    rows: outputs.len(),
                    cols: columns.len(),
                    pairs: stride / TILE,
                    left: Strips { words: left, stride },
                    right: Strips { words: right, stride },
                    start: Start::Sums,
                };
                multiply(product, &mut d_weight[first..], inputs);
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
