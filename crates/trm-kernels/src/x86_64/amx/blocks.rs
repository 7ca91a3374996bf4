//! The order in which blocks of a product are computed, of whatever numbers.

use super::tiles::{BLOCK, Sum, Sums, Tiles};
use crate::layout::{PANEL, Start, Strips, TILE, TILE_WORDS};
use crate::level::Amx;

/// Computes a product block by block, in three nested loops: over panels of 64 columns, over chunks of the inner dimension, and
/// over blocks of 32 rows. So 32 columns of a chunk of the right operand stay in the first-level cache while all rows pass by.
/// Between two chunks the sums wait in `dst`.
///
/// # Shapes
/// `[rows, cols]` sums of `steps` tiles of the inner dimension. There are two strips of the left operand for every 32 rows,
/// the last ones perhaps of less.
pub(super) fn multiply_blocks<T: Sum>(
    cpu: Amx,
    [rows, cols, steps]: [usize; 3],
    [left, right]: [Strips; 2],
    Sums { dst, stride }: Sums<T>,
    start: Start<T>,
) {
    // Many rows leave time to fetch the next chunk, few wait for memory whatever is done; a single block reads a chunk once.
    const MANY: usize = 128;
    let chunk = match rows {
        0..=BLOCK => steps,
        _ if rows < MANY => 8,
        _ => 16,
    };
    let tiles = Tiles::of_blocks(cpu);
    for panel in (0..cols).step_by(PANEL) {
        for step in (0..steps).step_by(chunk) {
            let chunk = chunk.min(steps - step);
            for col in (panel..cols.min(panel + PANEL)).step_by(BLOCK) {
                let next = if step + chunk < steps { [col, step + chunk] } else { [col + PANEL, 0] };
                for row in (0..rows).step_by(BLOCK) {
                    let operands = [left.skip(row / TILE, step), right.skip(col / TILE, step)];
                    let ahead = if rows < MANY { None } else { quarter(right, next, chunk, row / BLOCK) };
                    let sums = Sums { dst: &mut dst[row * stride + col..], stride };
                    let size = [BLOCK.min(rows - row), BLOCK.min(cols - col)];
                    let start = if step == 0 { start.at_column(col) } else { Start::Sums };
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
