//! AVX-512 VNNI: `vpdpbusd` adds four products of unsigned and signed bytes to each of sixteen 32-bit sums.

use crate::layout::{PANEL, Start};
use crate::level::Avx512Vnni;
use crate::quantised::Tile;
use std::arch::x86_64::*;

/// Sums in a register.
const LANES: usize = 16;

/// Computes a tile.
///
/// # Panics
/// If a slice is too short for the sizes, or a size is not one that there is code for.
pub(crate) fn run(_cpu: Avx512Vnni, tile: Tile) {
    tile.check();
    // SAFETY: `_cpu` proves AVX-512 F, BW and VNNI; the rest is checked.
    unsafe {
        match (tile.in_word, tile.cols > 2 * LANES) {
            (4, false) => rows_of::<2, 4>(tile),
            (4, true) => rows_of::<4, 4>(tile),
            (_, false) => rows_of::<2, 8>(tile),
            (_, true) => rows_of::<4, 8>(tile),
        }
    }
}

/// # Safety
/// As for [`sums`] with the tile's own number of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn rows_of<const WIDTH: usize, const IN_WORD: usize>(tile: Tile) {
    // SAFETY: the caller's promise, with ROWS the tile's rows, of which there are at most 6.
    unsafe {
        match tile.rows {
            1 => sums::<1, WIDTH, IN_WORD>(tile),
            2 => sums::<2, WIDTH, IN_WORD>(tile),
            3 => sums::<3, WIDTH, IN_WORD>(tile),
            4 => sums::<4, WIDTH, IN_WORD>(tile),
            5 => sums::<5, WIDTH, IN_WORD>(tile),
            _ => sums::<6, WIDTH, IN_WORD>(tile),
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F, BW and VNNI. IN_WORD is the tile's. `panel` has `groups * group_words * 64` words, `scales`
/// `groups * 64` numbers; `left`, `left_sums` and `steps` have ROWS rows; `dst` has `cols` numbers, at most 16 WIDTH, in each
/// of ROWS rows at its stride.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn sums<const ROWS: usize, const WIDTH: usize, const IN_WORD: usize>(tile: Tile) {
    let Tile { cols, zero, groups, group_words, dst_stride, start, .. } = tile;
    let (left_at, panel_at, scales_at) = (tile.left.as_ptr(), tile.panel.as_ptr(), tile.scales.as_ptr());
    let group_len = group_words * IN_WORD;
    let mut totals = [[_mm512_setzero_ps(); WIDTH]; ROWS];
    for g in 0..groups {
        let mut sums = [[_mm512_setzero_si512(); WIDTH]; ROWS];
        for (r, sums) in sums.iter_mut().enumerate() {
            *sums = [_mm512_set1_epi32(-zero * tile.left_sums[r * groups + g]); WIDTH];
        }
        for p in g * group_words..(g + 1) * group_words {
            let mut words = [_mm512_setzero_si512(); WIDTH];
            for (i, words) in words.iter_mut().enumerate() {
                // SAFETY: word p * 16 + 15 of a strip is the last of place p, and p < groups * group_words.
                *words = unsafe {
                    _mm512_loadu_si512(panel_at.add((i * groups * group_words + p) * LANES).cast())
                };
            }
            for half in 0..IN_WORD / 4 {
                let bytes = words.map(|words| match (IN_WORD, half) {
                    (4, _) => words,
                    (_, 0) => _mm512_and_si512(words, _mm512_set1_epi8(0xf)),
                    _ => _mm512_and_si512(_mm512_srli_epi32::<4>(words), _mm512_set1_epi8(0xf)),
                });
                for (r, sums) in sums.iter_mut().enumerate() {
                    let at = r * groups * group_len + p * IN_WORD + 4 * half;
                    // SAFETY: r < ROWS and p < groups * group_words: these four bytes are of row r of `left`.
                    let left = unsafe { left_at.add(at).cast::<i32>().read_unaligned() };
                    let left = _mm512_set1_epi32(left);
                    for (sum, bytes) in sums.iter_mut().zip(bytes) {
                        *sum = _mm512_dpbusd_epi32(*sum, bytes, left);
                    }
                }
            }
        }
        for i in 0..WIDTH {
            // SAFETY: number g * 64 + 63 is the last of group g.
            let scale = unsafe { _mm512_loadu_ps(scales_at.add(g * PANEL + i * LANES)) };
            for (totals, sums) in totals.iter_mut().zip(&sums) {
                // Not fused, so that the portable kernel has the same bits.
                totals[i] = _mm512_add_ps(totals[i], _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), scale));
            }
        }
    }
    let dst_at = tile.dst.as_mut_ptr();
    for (r, totals) in totals.iter().enumerate() {
        let step = _mm512_set1_ps(tile.steps[r]);
        for (i, total) in totals.iter().enumerate() {
            let columns = cols.saturating_sub(i * LANES).min(LANES);
            let mask = ((1u32 << columns) - 1) as u16;
            let at = dst_at.wrapping_add(r * dst_stride + i * LANES);
            // SAFETY: the mask leaves out columns beyond `cols`; row r of `dst` has `cols` numbers.
            unsafe {
                let before = match start {
                    Start::Zeros => _mm512_setzero_ps(),
                    _ => _mm512_maskz_loadu_ps(mask, at),
                };
                _mm512_mask_storeu_ps(at, mask, _mm512_add_ps(before, _mm512_mul_ps(step, *total)));
            }
        }
    }
}
