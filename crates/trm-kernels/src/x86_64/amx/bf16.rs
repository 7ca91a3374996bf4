//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16.

use super::blocks::multiply_blocks;
use super::tiles::{BLOCK, Sums, Tiles};
use crate::bf16::Product;
use crate::layout::{PANEL, TILE};
use crate::level::Amx;

/// Whole blocks of rows, then the rows that are left. There are pairs.
pub(crate) fn multiply(cpu: Amx, product: Product, dst: &mut [f32], stride: usize) {
    let Product { rows, cols, pairs, left, right, start } = product;
    let few = if rows % BLOCK <= TILE { rows % BLOCK } else { 0 };
    let in_blocks = rows - few;
    let steps = pairs.div_ceil(TILE);
    if in_blocks > 0 {
        multiply_blocks(cpu, [in_blocks, cols, steps], [left, right], Sums { dst: &mut *dst, stride }, start);
    }
    if few > 0 {
        let (tiles, left) = (Tiles::of_few(cpu, few), left.skip(in_blocks / TILE, 0));
        for col in (0..cols).step_by(PANEL) {
            let operands = [left, right.skip(col / TILE, 0)];
            let sums = Sums { dst: &mut dst[in_blocks * stride + col..], stride };
            tiles.few(steps, operands, sums, PANEL.min(cols - col), start.at_column(col));
        }
    }
}
