//! Matrix products of bfloat16 numbers with f32 sums: half the memory traffic and twice the speed of f32 on CPUs that
//! multiply bfloat16 natively, at 8 bits of mantissa.
//!
//! The right operand is packed once into [`Panels`] and used many times. Every element of a product is one sum in the
//! order of the inner dimension, whatever the number of rows, so results do not depend on how rows are shared out.

mod panels;
mod strips;

use crate::level::{Level, level};
use crate::{Overwrite, vectorize, widened};
use std::cell::RefCell;
use std::ops::Range;

pub use panels::{PANEL, Panels};
#[cfg(target_arch = "x86_64")]
pub(crate) use strips::{Inner, Side, TILE_WORDS, TilePacker, pack_strips};
pub(crate) use strips::{TILE, Words};

/// Rows that are multiplied at once: 24 registers of sums, 4 of the panel, 1 of the left operand.
pub(crate) const BLOCK: usize = 6;

/// Two numbers rounded to bfloat16, the first in the low half.
#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    round(low) >> 16 | round(high) & 0xffff_0000
}

/// Rounds to the nearest bfloat16, ties to even, which is left in the high half; NaN stays NaN.
#[inline(always)]
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if value.is_nan() { bits | 0x0040_0000 } else { rounded }
}

/// Rounds two rows and packs their columns; an empty second row counts as zeros.
#[inline(always)]
pub(crate) fn interleave(low: &[f32], high: &[f32], words: &mut [u32]) {
    if high.is_empty() {
        words.iter_mut().zip(low).for_each(|(word, low)| *word = pair(*low, 0.0));
    } else {
        for ((word, low), high) in words.iter_mut().zip(low).zip(high) {
            *word = pair(*low, *high);
        }
    }
}

/// Rounds a row and packs it by twos; an odd last number gets a zero beside it.
fn to_pairs(row: &[f32], words: &mut [u32]) {
    vectorize(
        #[inline(always)]
        || {
            let (twos, rest) = row.as_chunks::<2>();
            for (word, [low, high]) in words.iter_mut().zip(twos) {
                *word = pair(*low, *high);
            }
            if let ([last], Some(word)) = (rest, words.last_mut()) {
                *word = pair(*last, 0.0);
            }
        },
    );
}

/// Rounds rows of `inner` numbers and packs them by twos, `row_stride` words apart with zeros between.
pub(crate) fn rows_to_pairs(inner: usize, a: &[f32], words: &mut [u32], row_stride: usize) {
    if inner > 0 {
        for (row, words) in a.chunks_exact(inner).zip(words.chunks_exact_mut(row_stride)) {
            let (pairs, rest) = words.split_at_mut(inner.div_ceil(2));
            to_pairs(row, pairs);
            rest.fill(0);
        }
    }
}

thread_local! {
    /// The left operand of the product in progress.
    static LEFT: RefCell<Words> = RefCell::default();
}

/// `dst = a b` or `dst += a b`, both operands rounded to bfloat16.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul_bf16(rows: usize, a: &[f32], b: &Panels, dst: &mut [f32], overwrite: Overwrite) {
    assert_eq!(a.len(), rows * b.inner(), "a is [rows, inner]");
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Amx {
        return crate::x86_64::amx::matmul(rows, a, (b, 0..b.cols()), dst, overwrite);
    }
    let pairs = b.inner().div_ceil(2);
    with_left(rows * pairs, |left| {
        rows_to_pairs(b.inner(), a, left, pairs);
        let left = Left { words: left, block_stride: BLOCK * pairs, row_stride: pairs, pair_stride: 1 };
        multiply(rows, left, b, 0..b.cols(), dst, overwrite);
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
    assert_eq!(a.len(), b.inner(), "a is [1, inner]");
    assert!(first.is_multiple_of(PANEL) && first + dst.len() <= b.cols(), "whole panels inside b");
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Amx {
        return crate::x86_64::amx::matmul(1, a, (b, first..first + dst.len()), dst, overwrite);
    }
    let pairs = b.inner().div_ceil(2);
    with_left(pairs, |left| {
        to_pairs(a, left);
        let left = Left { words: left, block_stride: BLOCK * pairs, row_stride: pairs, pair_stride: 1 };
        multiply(1, left, b, first..first + dst.len(), dst, overwrite);
    });
}

/// `dst = a^T b` or `dst += a^T b`, both operands rounded to bfloat16: the gradient of a weight matrix.
///
/// # Shapes
/// `a` is `[inner, a_cols]`, of which columns `first .. first + rows` are used; `b` is `[inner, cols]`, `dst` is
/// `[rows, cols]`.
///
/// # Panics
/// If a slice has another length.
pub fn matmul_bf16_lhs_transposed(
    rows: usize,
    a: &[f32],
    [a_cols, first]: [usize; 2],
    b: &Panels,
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert!(first + rows <= a_cols, "the columns lie inside a");
    assert_eq!(a.len(), b.inner() * a_cols, "a is [inner, a_cols]");
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Amx {
        return crate::x86_64::amx::matmul_lhs_transposed(rows, a, [a_cols, first], b, dst, overwrite);
    }
    let pairs = b.inner().div_ceil(2);
    with_left(rows.next_multiple_of(BLOCK) * pairs, |left| {
        let mut words = vec![0; rows.next_multiple_of(BLOCK)];
        vectorize(
            #[inline(always)]
            || {
                for p in 0..pairs {
                    let low = &a[2 * p * a_cols + first..][..rows];
                    let has_high = 2 * p + 1 < b.inner();
                    let high = if has_high { &a[(2 * p + 1) * a_cols + first..][..rows] } else { &[] };
                    interleave(low, high, &mut words[..rows]);
                    for (block, words) in words.as_chunks::<BLOCK>().0.iter().enumerate() {
                        let place = left[(block * pairs + p) * BLOCK..].first_chunk_mut();
                        *place.expect("room for whole blocks") = *words;
                    }
                }
            },
        );
        let left = Left { words: left, block_stride: BLOCK * pairs, row_stride: 1, pair_stride: BLOCK };
        multiply(rows, left, b, 0..b.cols(), dst, overwrite);
    });
}

pub(crate) fn with_left(words: usize, run: impl FnOnce(&mut [u32])) {
    LEFT.with_borrow_mut(|buffer| {
        if buffer.len() < words {
            buffer.resize(words, 0);
        }
        run(&mut buffer[..words]);
    });
}

/// Where the left operand's pairs stand: word `block * block_stride + r * row_stride + p * pair_stride` holds numbers
/// `2p` and `2p + 1` of row `6 block + r`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub words: &'a [u32],
    pub block_stride: usize,
    pub row_stride: usize,
    pub pair_stride: usize,
}

/// The product's columns `columns`, which start with a panel.
fn multiply(
    rows: usize,
    left: Left,
    b: &Panels,
    columns: Range<usize>,
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    assert_eq!(dst.len(), rows * columns.len(), "dst is [rows, columns]");
    let pairs = b.inner().div_ceil(2);
    if pairs == 0 {
        if overwrite == Overwrite::Yes {
            dst.fill(0.0);
        }
        return;
    }
    let run = kernel(level());
    let strip = b.strip_pairs() * TILE;
    for first_col in (0..columns.len()).step_by(PANEL) {
        let panel = b.from(columns.start + first_col);
        let cols = PANEL.min(columns.len() - first_col);
        for first in (0..rows).step_by(BLOCK) {
            run(Tile {
                rows: BLOCK.min(rows - first),
                cols,
                pairs,
                left: Left { words: &left.words[first / BLOCK * left.block_stride..], ..left },
                panel,
                strip,
                dst: &mut dst[first * columns.len() + first_col..],
                dst_stride: columns.len(),
                overwrite,
            });
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
    pub left: Left<'a>,
    /// Four strips.
    pub panel: &'a [u32],
    /// Words of a strip.
    pub strip: usize,
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
    pub overwrite: Overwrite,
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
