//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16.

use super::tiles::{BLOCK, Left, Sums, TILE, Tiles};
use super::transpose::transpose_16;
use crate::bf16::{PANEL, Panels, interleave, rows_to_pairs, with_left};
use crate::{Overwrite, vectorize};
use std::ops::Range;

/// Pairs of the inner dimension in one pass over the sums: 32 columns of them are 32 kB, so that what all blocks of
/// rows are multiplied by stays in the first-level cache, and sums are loaded once for 16 multiplications.
const PASS: usize = 256;

/// Some columns of the product, from a whole panel on, as by [`crate::matmul_bf16`], which has checked the shapes.
pub(crate) fn matmul(
    rows: usize,
    a: &[f32],
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    let [words, row_stride] = left_shape(rows, b);
    with_left(words, |words| {
        rows_to_pairs(b.inner(), a, words, row_stride);
        multiply(rows, Left::new(words, row_stride), (b, columns), dst, overwrite);
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
    let [words, row_stride] = left_shape(rows, b);
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
        multiply(rows, Left::new(words, row_stride), (b, 0..b.cols()), dst, overwrite);
    });
}

/// Words that a left operand of so many rows takes, and those of one row.
fn left_shape(rows: usize, b: &Panels) -> [usize; 2] {
    [rows.next_multiple_of(BLOCK) * b.panel_pairs(), b.panel_pairs()]
}

/// Some columns of `left b`, from a whole panel on, or added to `dst`.
///
/// # Shapes
/// `left` has `rows` rows, `dst` is `[rows, columns]`.
fn multiply(
    rows: usize,
    left: Left,
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    let (cols, pairs, first_panel) = (columns.len(), b.panel_pairs(), columns.start / PANEL);
    assert_eq!(dst.len(), rows * cols, "dst is [rows, columns]");
    if pairs == 0 && overwrite == Overwrite::Yes {
        dst.fill(0.0);
    }
    let tiles = Tiles::configure();
    for first_pair in (0..pairs).step_by(PASS) {
        let overwrite = if first_pair == 0 { overwrite } else { Overwrite::No };
        let steps = PASS.min(pairs - first_pair) / TILE;
        for first_col in (0..cols).step_by(BLOCK) {
            let (panel, offset) = (first_panel + first_col / PANEL, first_col % PANEL);
            let right = &b.panel(panel)[first_pair * PANEL + offset..];
            for first_row in (0..rows).step_by(BLOCK) {
                let sums = Sums { dst: &mut dst[first_row * cols + first_col..], stride: cols };
                let size = [BLOCK.min(rows - first_row), BLOCK.min(cols - first_col)];
                tiles.block(steps, left.from(first_row, first_pair), right, sums, size, overwrite);
            }
        }
    }
}
