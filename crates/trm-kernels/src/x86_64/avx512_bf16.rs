//! AVX-512 BF16: `vdpbf16ps` adds two products of bfloat16 numbers to each of sixteen f32 sums.

use crate::Overwrite;
use crate::bf16::{Tile, left_word};
use crate::layout::{BLOCK, PANEL, holds};
use crate::level::Avx512Bf16;
use crate::peak::CHAINS;
use std::arch::x86_64::*;
use std::hint::black_box;

/// f32 numbers in a register.
const LANES: usize = 16;

/// Computes a tile.
///
/// # Panics
/// If a slice is too short for the sizes, or there are no rows, columns or pairs, or more rows or columns than 6 by 64.
pub(crate) fn run(_cpu: Avx512Bf16, tile: Tile) {
    assert!((1..=BLOCK).contains(&tile.rows) && (1..=PANEL).contains(&tile.cols));
    let Tile { rows, cols, pairs, left, panel, .. } = &tile;
    assert!(*pairs > 0 && pairs.div_ceil(LANES) <= left.len() && left.len() > left_word(rows - 1, pairs - 1));
    assert!(holds(panel.words.len(), cols.div_ceil(LANES), panel.stride, pairs * LANES));
    assert!(holds(tile.dst.len(), *rows, tile.dst_stride, *cols));
    // SAFETY: `_cpu` proves AVX-512 F and BF16; the assertions above are what `sums` asks for.
    unsafe {
        match cols.div_ceil(LANES) {
            1 => rows_of::<1>(tile),
            2 => rows_of::<2>(tile),
            3 => rows_of::<3>(tile),
            _ => rows_of::<4>(tile),
        }
    }
}

/// # Safety
/// As for [`sums`] with the tile's own number of rows.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn rows_of<const WIDTH: usize>(tile: Tile) {
    // SAFETY: the caller's promise, with ROWS the tile's rows, of which there are at most 6.
    unsafe {
        match tile.rows {
            1 => sums::<1, WIDTH>(tile),
            2 => sums::<2, WIDTH>(tile),
            3 => sums::<3, WIDTH>(tile),
            4 => sums::<4, WIDTH>(tile),
            5 => sums::<5, WIDTH>(tile),
            _ => sums::<6, WIDTH>(tile),
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F and BF16. `panel` has `pairs * 16` words in each of WIDTH strips; `left` has a word for each of ROWS
/// rows and `pairs` pairs; `dst` has `cols` numbers, at most 16 WIDTH, in each of ROWS rows at its stride.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn sums<const ROWS: usize, const WIDTH: usize>(tile: Tile) {
    let Tile { cols, pairs, left, panel, dst, dst_stride, overwrite, .. } = tile;
    let mask = |i: usize| -> __mmask16 {
        let columns = cols.saturating_sub(i * LANES).min(LANES);
        ((1u32 << columns) - 1) as u16
    };
    let (left_at, panel_at, dst_at) = (left.as_ptr(), panel.words.as_ptr(), dst.as_mut_ptr());
    let mut sums = [[_mm512_setzero_ps(); WIDTH]; ROWS];
    if overwrite == Overwrite::No {
        for (r, sums) in sums.iter_mut().enumerate() {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the mask leaves out columns beyond `cols`; row r of `dst` has `cols` numbers.
                *sum = unsafe {
                    _mm512_maskz_loadu_ps(mask(i), dst_at.wrapping_add(r * dst_stride + i * LANES))
                };
            }
        }
    }
    for p in 0..pairs {
        let mut b = [_mm512_setzero_si512(); WIDTH];
        for (i, b) in b.iter_mut().enumerate() {
            // SAFETY: word p * 16 + 15 of a strip is the last of pair p, and p < pairs.
            *b = unsafe { _mm512_loadu_si512(panel_at.add(i * panel.stride + p * LANES).cast()) };
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: r < ROWS and p < pairs: the word is one of `left`'s.
            let a = unsafe { *left_at.add(left_word(r, p)) };
            let a = _mm512_set1_epi32(a.cast_signed());
            for (sum, b) in sums.iter_mut().zip(b) {
                // SAFETY: both are 512 bits of plain data.
                let (a, b) = unsafe {
                    (std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b))
                };
                *sum = _mm512_dpbf16_ps(*sum, a, b);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (i, sum) in sums.iter().enumerate() {
            // SAFETY: the mask leaves out columns beyond `cols`; row r of `dst` has `cols` numbers.
            unsafe { _mm512_mask_storeu_ps(dst_at.wrapping_add(r * dst_stride + i * LANES), mask(i), *sum) };
        }
    }
}

/// Products of numbers in registers alone; returns the floating-point operations made.
pub(crate) fn spin(_cpu: Avx512Bf16, rounds: u64) -> u64 {
    // SAFETY: `_cpu` proves AVX-512 F and BF16.
    unsafe { spin_rounds(rounds) }
    2 * rounds * (2 * LANES * CHAINS) as u64
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn spin_rounds(rounds: u64) {
    let factors = black_box(_mm512_set1_epi32(0x3f00_3f00));
    // SAFETY: both are 512 bits of plain data.
    let factors = unsafe { std::mem::transmute::<__m512i, __m512bh>(factors) };
    let mut sums = [_mm512_setzero_ps(); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, factors, factors);
        }
    }
    black_box(sums);
}
