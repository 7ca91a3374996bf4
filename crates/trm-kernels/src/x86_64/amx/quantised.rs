//! AMX-INT8: `tdpbsud` multiplies a tile of 16 rows of 64 signed bytes by one of 64 rows of 16 unsigned ones.

use super::blocks::multiply_blocks;
use super::tiles::{BLOCK, Sums, Tiles};
use crate::layout::{PANEL, Start, Strips, TILE};
use crate::level::Amx;
use crate::quantised::Tile;
use crate::vectorize;

/// A group of weights has a multiple of so many words: whole tiles.
pub(crate) const GROUP_WORDS: usize = TILE;

/// Computes the columns of one panel for any number of rows, with the bits that the other kernels give: exact sums, scaled in the
/// same order.
///
/// # Panics
/// If the weights are no bytes in whole tiles, or a slice is too short for the sizes.
pub(crate) fn run(cpu: Amx, tile: Tile) {
    assert!(tile.in_word == 4 && tile.group_words.is_multiple_of(GROUP_WORDS));
    let tiles = Tiles::of_blocks(cpu);
    for first_col in (0..tile.cols).step_by(BLOCK) {
        for first_row in (0..tile.rows).step_by(BLOCK) {
            let totals = block_of(&tiles, &tile, first_row, first_col);
            let width = BLOCK.min(tile.cols - first_col);
            for (r, totals) in (first_row..tile.rows).zip(totals.chunks_exact(BLOCK)) {
                let dst = &mut tile.dst[r * tile.dst_stride + first_col..][..width];
                for (c, (dst, total)) in dst.iter_mut().zip(totals).enumerate() {
                    let before = match tile.start {
                        Start::Zeros => 0.0,
                        Start::Bias(bias) => bias[first_col + c],
                        Start::Sums => *dst,
                    };
                    *dst = before + tile.steps[r] * total;
                }
            }
        }
    }
}

/// Writes the 32-bit integer sums of the only group to `dst`, which has room for f32 numbers of as many bits.
/// [`scale_sums`] turns them into f32 numbers afterwards.
///
/// # Panics
/// If a slice is too short for the sizes.
pub(crate) fn whole_sums(cpu: Amx, tile: Tile) {
    let Tile { rows, cols, group_words, dst, dst_stride, .. } = tile;
    let stride = group_words * TILE;
    let operands = [tile.left_strips, tile.panel].map(|words| Strips { words, stride });
    let sums = Sums { dst: bytemuck::cast_slice_mut::<_, i32>(dst), stride: dst_stride };
    multiply_blocks(cpu, [rows, cols, group_words / TILE], operands, sums, Start::Zeros);
}

/// Replaces the 32-bit sums that [`whole_sums`] left in `dst` by the f32 numbers they stand for.
pub(crate) fn scale_sums(tile: Tile) {
    let Tile { rows, cols, zero, dst, dst_stride, .. } = tile;
    let (scales, zeros) = (&tile.scales[..cols], [0.0; PANEL]);
    let bias = if let Start::Bias(bias) = tile.start { &bias[..cols] } else { &zeros[..cols] };
    vectorize(
        #[inline(always)]
        || {
            let rows = dst.chunks_mut(dst_stride).zip(tile.left_sums).zip(tile.steps).take(rows);
            for ((row, left_sum), step) in rows {
                // Subtracted afterwards, where other kernels start from it: integer sums are exact in any order.
                let offset = zero * left_sum;
                for ((value, scale), before) in row[..cols].iter_mut().zip(scales).zip(bias) {
                    let sum = value.to_bits().cast_signed() - offset;
                    *value = before + step * (sum as f32 * scale);
                }
            }
        },
    );
}

/// The scaled sums over all groups, of 32 rows and columns.
fn block_of(tiles: &Tiles, tile: &Tile, first_row: usize, first_col: usize) -> [f32; BLOCK * BLOCK] {
    let Tile { groups, group_words, zero, .. } = *tile;
    let stride = groups * group_words * TILE;
    let [left, right] = [tile.left_strips, tile.panel].map(|words| Strips { words, stride });
    let (left, right) = (left.skip(first_row / TILE, 0), right.skip(first_col / TILE, 0));
    let mut totals = [0.0; BLOCK * BLOCK];
    for g in 0..groups {
        let mut sums = [0i32; BLOCK * BLOCK];
        let dst = Sums { dst: &mut sums, stride: BLOCK };
        let operands = [left, right].map(|strips| strips.skip(0, g * group_words / TILE));
        tiles.block(group_words / TILE, operands, None, dst, [BLOCK; 2], Start::Zeros);
        let scales = &tile.scales[g * PANEL + first_col..][..BLOCK];
        let rows = totals.chunks_exact_mut(BLOCK).zip(sums.chunks_exact(BLOCK));
        vectorize(
            #[inline(always)]
            || {
                for (r, (totals, sums)) in (first_row..tile.rows).zip(rows) {
                    // Subtracted afterwards, where other kernels start from it: integer sums are exact in any order.
                    let offset = zero * tile.left_sums[r * groups + g];
                    for ((total, sum), scale) in totals.iter_mut().zip(sums).zip(scales) {
                        *total += (sum - offset) as f32 * scale;
                    }
                }
            },
        );
    }
    totals
}
