//! AMX-BF16: products in tiles of 16 by 16 sums. `tiles.rs` multiplies; here the left operand is packed for it.

#[cfg(all(test, target_os = "linux"))]
mod emulator;
mod tiles;
mod transpose;

pub(crate) use tiles::available;

use crate::bf16::{Panels, interleave, rows_to_pairs, with_left};
use crate::{Overwrite, vectorize};
use tiles::{Rows, TILE, multiply, rows_shape};
use transpose::transpose_16;

/// As [`crate::matmul_bf16`], which has checked the shapes.
pub(crate) fn matmul(rows: usize, a: &[f32], b: &Panels, dst: &mut [f32], overwrite: Overwrite) {
    let [words, row_stride] = rows_shape(rows, b.inner().div_ceil(2));
    with_left(words, |words| {
        rows_to_pairs(b.inner(), a, words, row_stride);
        multiply(rows, Rows { words, row_stride }, b, dst, overwrite);
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
        multiply(rows, Rows { words, row_stride }, b, dst, overwrite);
    });
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::bf16::tests::rounded;
    use crate::reference::{self, assert_close, numbers};

    /// On a CPU without AMX its instructions are emulated.
    #[test]
    fn products_in_tiles_of_all_ragged_sizes_agree_with_the_reference() {
        if !std::arch::is_x86_feature_detected!("avx512f") {
            return;
        }
        if !available() {
            emulator::install();
        }
        // Around the rows of a tile and of a block, the columns of a block and of a panel, the pairs of a tile and of a pass.
        let (rows, inners, cols) =
            ([0, 1, 15, 16, 17, 33], [0, 1, 31, 32, 33, 67, 545], [0, 1, 31, 32, 33, 64, 97]);
        for [rows, inner, cols] in rows
            .into_iter()
            .flat_map(|rows| inners.into_iter().map(move |inner| [rows, inner]))
            .flat_map(|[rows, inner]| cols.into_iter().map(move |cols| [rows, inner, cols]))
        {
            let a = numbers(rows * inner, 1);
            let b = numbers(inner * cols, 2);
            let before = numbers(rows * cols, 3);
            let want = reference::matmul(rows, inner, cols, &rounded(&a), &rounded(&b));
            let sum: Vec<f64> = want.iter().zip(&before).map(|(w, d)| w + f64::from(*d)).collect();
            let what = format!("[{rows}, {inner}, {cols}]");
            let mut panels = Panels::default();
            panels.pack([inner, cols], &b);

            // What lies in the buffer from before must not matter.
            with_left(100_000, |words| words.fill(0x7fc0_7fc0));
            let mut dst = before.clone();
            matmul(rows, &a, &panels, &mut dst, Overwrite::Yes);
            assert_close(&dst, &want, &what);
            let mut dst = before.clone();
            matmul(rows, &a, &panels, &mut dst, Overwrite::No);
            assert_close(&dst, &sum, &what);
            // The middle columns of a wider matrix.
            let a_cols = rows + 3;
            let mut wide = vec![f32::NAN; inner * a_cols];
            for (wide, a) in
                wide.chunks_exact_mut(a_cols).zip(reference::transpose(rows, inner, &a).chunks(rows.max(1)))
            {
                wide[2..2 + rows].copy_from_slice(a);
            }
            if rows == 0 {
                continue;
            }
            with_left(100_000, |words| words.fill(0x7fc0_7fc0));
            let mut dst = before.clone();
            matmul_lhs_transposed(rows, &wide, [a_cols, 2], &panels, &mut dst, Overwrite::No);
            assert_close(&dst, &sum, &what);
        }
    }
}
