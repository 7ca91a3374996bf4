//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16.

use super::tiles::{BLOCK, Sums, Tiles};
use crate::bf16::{PANEL, Product, TILE};

/// Whole blocks of rows, then the rows that are left. There are pairs.
pub(crate) fn multiply(product: Product, dst: &mut [f32], stride: usize) {
    let Product { rows, cols, pairs, left, right, start } = product;
    let steps = pairs.div_ceil(TILE);
    let few = if rows % BLOCK <= TILE { rows % BLOCK } else { 0 };
    let in_blocks = rows - few;
    if in_blocks > 0 {
        let tiles = Tiles::of_blocks();
        for col in (0..cols).step_by(BLOCK) {
            let right = right.from(col / TILE, 0);
            for row in (0..in_blocks).step_by(BLOCK) {
                let operands = [left.from(row / TILE, 0), right];
                let sums = Sums { dst: &mut dst[row * stride + col..], stride };
                let size = [BLOCK.min(in_blocks - row), BLOCK.min(cols - col)];
                tiles.block(steps, operands, sums, size, start.from(col));
            }
        }
    }
    if few > 0 {
        let (tiles, left) = (Tiles::of_few(few), left.from(in_blocks / TILE, 0));
        for col in (0..cols).step_by(PANEL) {
            let operands = [left, right.from(col / TILE, 0)];
            let sums = Sums { dst: &mut dst[in_blocks * stride + col..], stride };
            tiles.few(steps, operands, sums, PANEL.min(cols - col), start.from(col));
        }
    }
}
