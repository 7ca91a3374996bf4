//! AMX-BF16: `tdpbf16ps` multiplies a tile of 16 rows of 32 bfloat16 numbers by one of 32 rows of 16.

use super::tiles::{BLOCK, Sums, Tiles};
use crate::bf16::{PANEL, Product, Start, Strips, TILE, TILE_WORDS};

/// Whole blocks of rows, then the rows that are left. There are pairs.
pub(crate) fn multiply(product: Product, dst: &mut [f32], stride: usize) {
    let Product { rows, cols, pairs, left, right, start } = product;
    let few = if rows % BLOCK <= TILE { rows % BLOCK } else { 0 };
    let in_blocks = rows - few;
    if in_blocks > 0 {
        multiply_blocks(Product { rows: in_blocks, ..product }, dst, stride);
    }
    if few > 0 {
        let (tiles, left) = (Tiles::of_few(few), left.from(in_blocks / TILE, 0));
        for col in (0..cols).step_by(PANEL) {
            let operands = [left, right.from(col / TILE, 0)];
            let sums = Sums { dst: &mut dst[in_blocks * stride + col..], stride };
            tiles.few(pairs.div_ceil(TILE), operands, sums, PANEL.min(cols - col), start.from(col));
        }
    }
}

/// A panel after the other, and of it a chunk of the inner dimension after the other, 32 columns of which stay in the
/// first-level cache while the rows pass by. Sums wait for the next chunk in `dst`.
fn multiply_blocks(
    Product { rows, cols, pairs, left, right, start }: Product,
    dst: &mut [f32],
    stride: usize,
) {
    // Many rows leave time to fetch the next chunk, few wait for memory whatever is done.
    const MANY: usize = 128;
    let (steps, chunk) = (pairs.div_ceil(TILE), if rows < MANY { 8 } else { 16 });
    let tiles = Tiles::of_blocks();
    for panel in (0..cols).step_by(PANEL) {
        for step in (0..steps).step_by(chunk) {
            let chunk = chunk.min(steps - step);
            for col in (panel..cols.min(panel + PANEL)).step_by(BLOCK) {
                let next = if step + chunk < steps { [col, step + chunk] } else { [col + PANEL, 0] };
                for row in (0..rows).step_by(BLOCK) {
                    let operands = [left.from(row / TILE, step), right.from(col / TILE, step)];
                    let ahead = if rows < MANY { None } else { quarter(right, next, chunk, row / BLOCK) };
                    let sums = Sums { dst: &mut dst[row * stride + col..], stride };
                    let size = [BLOCK.min(rows - row), BLOCK.min(cols - col)];
                    let start = if step == 0 { start.from(col) } else { Start::Sums };
                    tiles.block(chunk, operands, ahead, sums, size, start);
                }
            }
        }
    }
}

/// A quarter of one of the two strips from a column and a step on, if there are such quarters and strips.
fn quarter(right: Strips, [col, step]: [usize; 2], chunk: usize, quarter: usize) -> Option<*const u32> {
    let strip = (col / TILE + quarter / 4) * right.stride;
    let words = right.words.get(strip + step * TILE_WORDS + quarter % 4 * (chunk * TILE_WORDS / 4)..)?;
    (quarter < 8 && !words.is_empty()).then_some(words.as_ptr())
}
