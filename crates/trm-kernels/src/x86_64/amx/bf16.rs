//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16.

use super::tiles::{BLOCK, Strips, Sums, Tiles};
use crate::Overwrite;
use crate::bf16::{Inner, PANEL, Panels, Side, TILE, TILE_WORDS, pack_strips, with_left};
use std::ops::Range;

/// Tiles of the inner dimension in one pass over the sums: two strips of them are 32 kB, so that what all blocks of rows
/// are multiplied by stays in the first-level cache, and sums are loaded once for 16 multiplications.
const PASS: usize = 16;

/// Some columns of the product, from a whole panel on, as by [`crate::matmul_bf16`], which has checked the shapes.
pub(crate) fn matmul(
    rows: usize,
    a: &[f32],
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    with_left(left_words(rows, b), |words| {
        pack_strips(a, [b.inner(); 2], (Inner::Along, Side::Left), words);
        multiply(rows, words, (b, columns), dst, overwrite);
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
    with_left(left_words(rows, b), |words| {
        if !a.is_empty() {
            pack_strips(&a[first..], [rows, a_cols], (Inner::Down, Side::Left), words);
        }
        multiply(rows, words, (b, 0..b.cols()), dst, overwrite);
    });
}

/// Words of the strips of so many rows, up to a whole block.
fn left_words(rows: usize, b: &Panels) -> usize {
    rows.next_multiple_of(BLOCK) * b.strip_pairs()
}

/// Some columns of `left b`, from a whole panel on, or added to `dst`: whole blocks of rows, then the rows that are left.
///
/// # Shapes
/// `left` are the strips of `rows` rows, `dst` is `[rows, columns]`.
fn multiply(
    rows: usize,
    left: &[u32],
    (b, columns): (&Panels, Range<usize>),
    dst: &mut [f32],
    overwrite: Overwrite,
) {
    let (cols, stride) = (columns.len(), b.strip_pairs() * TILE);
    assert_eq!(dst.len(), rows * cols, "dst is [rows, columns]");
    if stride == 0 && overwrite == Overwrite::Yes {
        dst.fill(0.0);
    }
    let left = Strips { words: left, stride };
    let right = Strips { words: b.from(columns.start), stride };
    let few = if rows % BLOCK <= TILE { rows % BLOCK } else { 0 };
    let (blocks, rest) = dst.split_at_mut((rows - few) * cols);
    let passes = (0..stride / TILE_WORDS).step_by(PASS).map(|first| {
        let overwrite = if first == 0 { overwrite } else { Overwrite::No };
        (first, PASS.min(stride / TILE_WORDS - first), overwrite)
    });
    if few < rows {
        let tiles = Tiles::of_blocks();
        for (tile, steps, overwrite) in passes.clone() {
            for first_col in (0..cols).step_by(BLOCK) {
                let right = right.from(first_col / TILE, tile);
                for first_row in (0..rows - few).step_by(BLOCK) {
                    let operands = [left.from(first_row / TILE, tile), right];
                    let sums = Sums { dst: &mut blocks[first_row * cols + first_col..], stride: cols };
                    let size = [BLOCK.min(rows - few - first_row), BLOCK.min(cols - first_col)];
                    tiles.block(steps, operands, sums, size, overwrite);
                }
            }
        }
    }
    if few > 0 {
        let (tiles, left) = (Tiles::of_few(few), left.from((rows - few) / TILE, 0));
        let steps = stride / TILE_WORDS;
        for first_col in (0..if steps > 0 { cols } else { 0 }).step_by(PANEL) {
            let sums = Sums { dst: &mut rest[first_col..], stride: cols };
            let operands = [left, right.from(first_col / TILE, 0)];
            tiles.few(steps, operands, sums, PANEL.min(cols - first_col), overwrite);
        }
    }
}
