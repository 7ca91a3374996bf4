//! AVX2 and AVX-512 without products of bfloat16 numbers: tiles of such products by fused f32 multiplication and addition,
//! one code for both widths.

use crate::Overwrite;
use crate::bf16::{Tile, left_word};
use crate::layout::{BLOCK, TILE};
use crate::level::with_simd;
use crate::peak::CHAINS;
use pulp::{Simd, WithSimd};
use std::hint::black_box;
use std::ops::Range;

/// Registers of sums for each row: 12 in all, which leaves four of AVX2's sixteen for operands.
const WIDTH: usize = 2;

/// Computes a tile at level AVX2 or AVX-512. A bfloat16 number is the high half of the f32 of the same value.
pub(crate) fn run(tile: Tile) {
    with_simd(Widened(tile));
}

struct Widened<'a>(Tile<'a>);

impl WithSimd for Widened<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.0.rows {
            1 => rows_of::<S, 1>(simd, self.0),
            2 => rows_of::<S, 2>(simd, self.0),
            3 => rows_of::<S, 3>(simd, self.0),
            4 => rows_of::<S, 4>(simd, self.0),
            5 => rows_of::<S, 5>(simd, self.0),
            _ => rows_of::<S, BLOCK>(simd, self.0),
        }
    }
}

#[inline(always)]
fn rows_of<S: Simd, const ROWS: usize>(simd: S, mut tile: Tile) {
    for first in (0..tile.cols).step_by(WIDTH * S::F32_LANES) {
        sums::<S, ROWS>(simd, &mut tile, first);
    }
}

/// The columns `first ..` of ROWS rows. Missing columns of the panel are zeros, whose sums are not stored.
#[inline(always)]
fn sums<S: Simd, const ROWS: usize>(simd: S, tile: &mut Tile, first: usize) {
    let Tile { cols, pairs, left, panel, dst_stride, .. } = *tile;
    let place = |r: usize, i: usize| -> Range<usize> {
        let column = |i: usize| r * dst_stride + (first + i * S::F32_LANES).min(cols);
        column(i)..column(i + 1)
    };
    let mut sums = [[simd.splat_f32s(0.0); WIDTH]; ROWS];
    if tile.overwrite == Overwrite::No {
        for (r, sums) in sums.iter_mut().enumerate() {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.partial_load_f32s(&tile.dst[place(r, i)]);
            }
        }
    }
    let (mask, sixteen) = (simd.splat_u32s(0xffff_0000), simd.splat_u32s(16));
    let high = |words| simd.transmute_f32s_u32s(simd.and_u32s(words, mask));
    let low = |words| simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words, sixteen));
    let strips: [&[[u32; TILE]]; WIDTH] = std::array::from_fn(|i| {
        let column = first + i * S::F32_LANES;
        &panel.skip(column / TILE, 0).words.as_chunks().0[..pairs]
    });
    let word_of = |i: usize| (first + i * S::F32_LANES) % TILE;
    for p in 0..pairs {
        let words: [S::u32s; WIDTH] =
            std::array::from_fn(|i| S::as_simd_u32s(&strips[i][p][word_of(i)..]).0[0]);
        let a_of = |r: usize| simd.splat_u32s(left[left_word(r, p)]);
        let (b_high, b_low) = (words.map(high), words.map(low));
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = high(a_of(r));
            for (sum, b) in sums.iter_mut().zip(b_high) {
                *sum = simd.mul_add_e_f32s(a, b, *sum);
            }
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = low(a_of(r));
            for (sum, b) in sums.iter_mut().zip(b_low) {
                *sum = simd.mul_add_e_f32s(a, b, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (i, sum) in sums.iter().enumerate() {
            simd.partial_store_f32s(&mut tile.dst[place(r, i)], *sum);
        }
    }
}

/// Fused multiplications and additions in registers alone; returns how many f32 numbers a register has.
pub(crate) fn spin(rounds: u64) -> usize {
    with_simd(Spin(rounds))
}

struct Spin(u64);

impl WithSimd for Spin {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let (factor, addend) = (simd.splat_f32s(black_box(0.5)), simd.splat_f32s(black_box(0.25)));
        let mut sums = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, addend);
            }
        }
        black_box(sums);
        S::F32_LANES
    }
}
