//! AMX-BF16: products in tiles of 16 by 16 sums. `tiles.rs` multiplies; here the left operand is packed for it.

#[cfg(all(test, target_os = "linux"))]
mod emulator;
mod tiles;
mod transpose;

use crate::bf16::{Panels, interleave, rows_to_pairs, with_left};
use crate::{Overwrite, vectorize};
use std::ops::Range;
pub(crate) use tiles::spin;
use tiles::{Rows, TILE, multiply, rows_shape};
use transpose::transpose_16;

/// Whether this process may use the tiles; in tests it always may, in emulation where there are none.
pub fn available() -> bool {
    let available = tiles::available();
    #[cfg(all(test, target_os = "linux"))]
    return available || emulator::install();
    #[cfg(not(all(test, target_os = "linux")))]
    available
}

/// Some columns of the product, from a whole panel on, as by [`crate::matmul_bf16`], which has checked the shapes.
pub(crate) fn matmul(
    rows: usize,
    a: &[f32],
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    let [words, row_stride] = rows_shape(rows, b.inner().div_ceil(2));
    with_left(words, |words| {
        rows_to_pairs(b.inner(), a, words, row_stride);
        multiply(rows, Rows { words, row_stride }, (b, columns), dst, overwrite);
    });
}

/// As [`crate::matmul_bf16_lhs_transposed`], which has checked the shapes.
pub(crate) fn matmul_lhs_transposed(
    rows: usize,
    a: &[f32],
    [a_cols, first]: [usize; 2],
    b: &Panels,
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    if rows == 0 {
        return;
    }
    let [words, row_stride] = rows_shape(rows, b.inner().div_ceil(2));
    // Row `2p` or `2p + 1` of `a`, of the columns that are used.
    let row = |k: usize| if k < b.inner() { &a[k * a_cols + first..][..rows] } else { &[] };
    let width = rows.next_multiple_of(TILE);
    with_left(words, |words| {
        let mut pairs = vec![0; TILE * width];
        for first_pair in (0..row_stride).step_by(TILE) {
            for (p, words) in pairs.chunks_exact_mut(width).enumerate() {
                let [low, high] = [0, 1].map(|half| row(2 * (first_pair + p) + half));
                if low.is_empty() {
                    words.fill(0);
                }
                vectorize(
                    #[inline(always)]
                    || interleave(low, high, &mut words[..rows]),
                );
            }
            for first in (0..width).step_by(TILE) {
                let target = &mut words[first * row_stride + first_pair..];
                transpose_16(&pairs[first..], width, target, row_stride);
            }
        }
        multiply(rows, Rows { words, row_stride }, (b, 0..b.cols()), dst, overwrite);
    });
}
