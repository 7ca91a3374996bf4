//! Tiles of bfloat16 products where the CPU has no instruction for them: a bfloat16 number is the high half of the f32 of the
//! same value, so a shift makes it one.
//!
//! The product of two such numbers has at most 16 bits of mantissa and is exact in f32 (inside its range of exponents),
//! so separate additions, as here, and fused ones, as in `x86_64/fma.rs`, round alike and give the same bits.

use super::kernel::{Tile, left_word};
use super::unpair;
use crate::Overwrite;
use crate::layout::{BLOCK, TILE};

/// Columns whose sums are formed side by side: a strip, some registers of every CPU.
const COLUMNS: usize = TILE;

/// Computes a tile in plain Rust, in loops that compilers widen.
pub(super) fn run(mut tile: Tile) {
    for first in (0..tile.cols).step_by(COLUMNS) {
        match tile.rows {
            1 => sums::<1>(&mut tile, first),
            2 => sums::<2>(&mut tile, first),
            3 => sums::<3>(&mut tile, first),
            4 => sums::<4>(&mut tile, first),
            5 => sums::<5>(&mut tile, first),
            _ => sums::<BLOCK>(&mut tile, first),
        }
    }
}

/// The columns `first ..` of ROWS rows. Missing columns of the panel are zeros, whose sums are not stored.
fn sums<const ROWS: usize>(tile: &mut Tile, first: usize) {
    let mut sums = [[0.0; COLUMNS]; ROWS];
    let cols = COLUMNS.min(tile.cols - first);
    if tile.overwrite == Overwrite::No {
        for (r, sums) in sums.iter_mut().enumerate() {
            sums[..cols].copy_from_slice(&tile.dst[r * tile.dst_stride + first..][..cols]);
        }
    }
    let strip = tile.panel.skip(first / COLUMNS, 0).words;
    for (p, words) in strip.as_chunks::<COLUMNS>().0[..tile.pairs].iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            let [low, high] = unpair(tile.left[left_word(r, p)]);
            for (sum, b) in sums.iter_mut().zip(words) {
                *sum += high * unpair(*b)[1];
            }
            for (sum, b) in sums.iter_mut().zip(words) {
                *sum += low * unpair(*b)[0];
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        tile.dst[r * tile.dst_stride + first..][..cols].copy_from_slice(&sums[..cols]);
    }
}
