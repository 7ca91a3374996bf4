//! Products of whole numbers with AVX2. Bytes are spread to 16 bits: `vpmaddwd` adds two products of those to each of eight
//! 32-bit sums. Of halves of bytes `vpmaddubsw` adds two products to each of sixteen 16-bit sums, which a few of them fit.

use crate::layout::{PANEL, TILE};
use crate::level::Avx2;
use crate::quantised::Tile;
use std::arch::x86_64::*;

/// Sums in a register.
const LANES: usize = 8;
/// Registers of a strip.
const WIDTH: usize = TILE / LANES;
/// Words of a row that are spread at once: a multiple of eight.
const SPREAD: usize = 32;
/// Words of halves whose sums fit 16 bits: `4 (8 / 2) 15 127 < 2^15`.
const WORDS_IN_SHORT: usize = 4;

/// Sums of some rows by the columns of a strip.
type Sums<const ROWS: usize> = [[__m256i; WIDTH]; ROWS];

/// Computes a tile.
///
/// # Panics
/// If a slice is too short for the sizes, or a size is not one that there is code for.
pub(crate) fn run(_cpu: Avx2, tile: Tile) {
    tile.check();
    // SAFETY: `_cpu` proves AVX2; the rest is checked.
    unsafe {
        match tile.in_word {
            4 => rows_of::<4>(tile),
            _ => rows_of::<8>(tile),
        }
    }
}

/// # Safety
/// As for [`sums`] with the tile's own number of rows.
#[target_feature(enable = "avx2")]
unsafe fn rows_of<const IN_WORD: usize>(tile: Tile) {
    // SAFETY: the caller's promise, with ROWS the tile's rows, of which there are at most 6.
    unsafe {
        match tile.rows {
            1 => sums::<1, IN_WORD>(tile),
            2 => sums::<2, IN_WORD>(tile),
            3 => sums::<3, IN_WORD>(tile),
            4 => sums::<4, IN_WORD>(tile),
            5 => sums::<5, IN_WORD>(tile),
            _ => sums::<6, IN_WORD>(tile),
        }
    }
}

/// # Safety
/// The CPU has AVX2. IN_WORD is the tile's. `panel` has `groups * group_words * 64` words, `scales` `groups * 64` numbers;
/// `left`, `left_sums` and `steps` have ROWS rows; `dst` has `cols` numbers in each of ROWS rows at its stride.
#[target_feature(enable = "avx2")]
unsafe fn sums<const ROWS: usize, const IN_WORD: usize>(mut tile: Tile) {
    let Tile { cols, zero, groups, group_words, .. } = tile;
    let (left_at, panel_at) = (tile.left.as_ptr(), tile.panel.as_ptr());
    let row_words = groups * group_words;
    let strips = cols.div_ceil(TILE);
    let mut spread_left = [[[0; SPREAD]; ROWS]; 2];
    let mut totals = [[[_mm256_setzero_ps(); WIDTH]; ROWS]; PANEL / TILE];
    for g in 0..groups {
        let mut sums: [Sums<ROWS>; PANEL / TILE] = [[[_mm256_setzero_si256(); WIDTH]; ROWS]; PANEL / TILE];
        for strip in &mut sums[..strips] {
            for (r, sums) in strip.iter_mut().enumerate() {
                *sums = [_mm256_set1_epi32(-zero * tile.left_sums[r * groups + g]); WIDTH];
            }
        }
        for first in (g * group_words..(g + 1) * group_words).step_by(SPREAD) {
            let len = SPREAD.min((g + 1) * group_words - first);
            // SAFETY: words `first .. first + len` are of the group, of each row and each strip, and a strip has
            // `row_words * 16` of them.
            unsafe {
                let left = left_at.add(first * IN_WORD);
                let strip_at = |strip: usize| panel_at.add((strip * row_words + first) * TILE);
                if IN_WORD == 4 {
                    spread(&mut spread_left, left, row_words, len);
                    for (strip, sums) in sums[..strips].iter_mut().enumerate() {
                        add_bytes(sums, &spread_left, strip_at(strip), len);
                    }
                } else {
                    for (strip, sums) in sums[..strips].iter_mut().enumerate() {
                        add_halves(sums, left, row_words, strip_at(strip), len);
                    }
                }
            }
        }
        for (strip, sums) in sums[..strips].iter().enumerate() {
            for i in 0..WIDTH {
                // SAFETY: number g * 64 + 63 is the last of group g.
                let scale = unsafe {
                    _mm256_loadu_ps(tile.scales.as_ptr().add(g * PANEL + strip * TILE + i * LANES))
                };
                for r in 0..ROWS {
                    // Not fused, so that the portable kernel has the same bits.
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][i]), scale);
                    totals[strip][r][i] = _mm256_add_ps(totals[strip][r][i], scaled);
                }
            }
        }
    }
    for (strip, totals) in totals[..strips].iter().enumerate() {
        // SAFETY: both are ROWS times sixteen f32 numbers.
        tile.store(strip * TILE, unsafe { &*totals.as_ptr().cast::<[[f32; TILE]; ROWS]>() });
    }
}

/// Bytes of rows as pairs of 16-bit numbers. The four bytes of a word make two pairs: the first and the third, the
/// second and the fourth.
type Spread<const ROWS: usize> = [[[i32; SPREAD]; ROWS]; 2];

/// # Safety
/// The CPU has AVX2; at `left` and every `row_words` words from there, ROWS times, `len` words can be read, at most 32.
#[target_feature(enable = "avx2")]
unsafe fn spread<const ROWS: usize>(
    [even, odd]: &mut Spread<ROWS>,
    left: *const i8,
    row_words: usize,
    len: usize,
) {
    for (r, (even, odd)) in even.iter_mut().zip(odd).enumerate() {
        let (even, odd) = (even.as_chunks_mut::<LANES>().0, odd.as_chunks_mut::<LANES>().0);
        for ((even, odd), first) in even.iter_mut().zip(odd).zip((0..len).step_by(LANES)) {
            // SAFETY: so many words of the row are left, as many as are copied or eight; eight are written where eight are.
            unsafe {
                let row = left.add((r * row_words + first) * 4);
                let words = if first + LANES <= len {
                    _mm256_loadu_si256(row.cast())
                } else {
                    let mut words = [0i8; 4 * LANES];
                    std::ptr::copy_nonoverlapping(row, words.as_mut_ptr(), 4 * (len - first));
                    _mm256_loadu_si256(words.as_ptr().cast())
                };
                let low = _mm256_slli_epi16::<8>(words);
                _mm256_storeu_si256(even.as_mut_ptr().cast(), _mm256_srai_epi16::<8>(low));
                _mm256_storeu_si256(odd.as_mut_ptr().cast(), _mm256_srai_epi16::<8>(words));
            }
        }
    }
}

/// Adds products of bytes.
///
/// # Safety
/// The CPU has AVX2; `len` is at most 32, and at `strip` 16 times as many words can be read.
#[target_feature(enable = "avx2")]
unsafe fn add_bytes<const ROWS: usize>(
    sums: &mut Sums<ROWS>,
    left: &Spread<ROWS>,
    strip: *const u32,
    len: usize,
) {
    let mut running = *sums;
    for p in 0..len {
        // SAFETY: p < len: the caller's promise.
        let words = unsafe { load_words(strip.add(p * TILE)) };
        for (half, left) in left.iter().enumerate() {
            let mut numbers = words;
            for numbers in &mut numbers {
                *numbers = match half {
                    0 => _mm256_and_si256(*numbers, _mm256_set1_epi16(0xff)),
                    _ => _mm256_srli_epi16::<8>(*numbers),
                };
            }
            for (running, left) in running.iter_mut().zip(left) {
                let left = _mm256_set1_epi32(left[p]);
                for (sum, numbers) in running.iter_mut().zip(numbers) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(numbers, left));
                }
            }
        }
    }
    *sums = running;
}

/// Adds products of halves of bytes.
///
/// # Safety
/// The CPU has AVX2. At `left` and every `row_words` words of eight numbers from there, ROWS times, `len` of these words can
/// be read, and 16 `len` words at `strip`.
#[target_feature(enable = "avx2")]
unsafe fn add_halves<const ROWS: usize>(
    sums: &mut Sums<ROWS>,
    left: *const i8,
    row_words: usize,
    strip: *const u32,
    len: usize,
) {
    for first in (0..len).step_by(WORDS_IN_SHORT) {
        let mut short = [[_mm256_setzero_si256(); WIDTH]; ROWS];
        for p in first..len.min(first + WORDS_IN_SHORT) {
            // SAFETY: p < len: the caller's promise.
            let words = unsafe { load_words(strip.add(p * TILE)) };
            for half in 0..2 {
                let mut numbers = words;
                for numbers in &mut numbers {
                    let low = if half == 0 { *numbers } else { _mm256_srli_epi16::<4>(*numbers) };
                    *numbers = _mm256_and_si256(low, _mm256_set1_epi8(0xf));
                }
                for (r, short) in short.iter_mut().enumerate() {
                    // SAFETY: p < len, so word p of row r can be read by the caller's promise.
                    let left = unsafe {
                        left.add((r * row_words + p) * 8 + 4 * half).cast::<i32>().read_unaligned()
                    };
                    let left = _mm256_set1_epi32(left);
                    for (sum, numbers) in short.iter_mut().zip(numbers) {
                        *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(numbers, left));
                    }
                }
            }
        }
        for (sums, short) in sums.iter_mut().zip(short) {
            for (sum, short) in sums.iter_mut().zip(short) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, _mm256_set1_epi16(1)));
            }
        }
    }
}

/// # Safety
/// The CPU has AVX2, and 16 words can be read.
#[target_feature(enable = "avx2")]
unsafe fn load_words(words: *const u32) -> [__m256i; WIDTH] {
    let mut registers = [_mm256_setzero_si256(); WIDTH];
    for (i, register) in registers.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *register = unsafe { _mm256_loadu_si256(words.add(i * LANES).cast()) };
    }
    registers
}
