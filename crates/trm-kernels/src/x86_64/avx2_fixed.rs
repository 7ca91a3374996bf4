//! Products of fixed-point numbers with AVX2. `vpmaddwd` adds two products of 16-bit numbers for each of eight 32-bit sums, `vpmaddubsw`
//! two products of bytes for each of sixteen 16-bit sums.

mod round;
mod turn;

use crate::fixed::{Fixed, Operand, STRIP, Strip};
use crate::layout::Start;
use crate::level::Avx2;
use crate::peak::CHAINS;
pub(crate) use round::round;
use std::arch::x86_64::*;
use std::hint::black_box;
pub(crate) use turn::turn_strip;

/// Sums in a register.
const LANES: usize = 8;
/// Registers of a row of sums.
const WIDTH: usize = STRIP / LANES;

/// Rows of pairs that are multiplied at once: with two registers of sums each 12 of sixteen, which leaves four for operands.
const PAIR_ROWS: usize = 6;
/// Rows of bytes: six registers of sums, four of the panel, one of ones, and what is on its way. Six rows do not fit, four are no faster.
const BYTE_ROWS: usize = 3;

/// What a row starts from, where there is no bias.
static ZEROS: [f32; STRIP] = [0.0; STRIP];

/// Multiplies by a panel.
///
/// # Panics
/// If something lies outside its slice.
pub(crate) fn multiply_strip(_cpu: Avx2, mut strip: Strip) {
    strip.check();
    // SAFETY: `_cpu` proves AVX2 and FMA; the rest is checked.
    unsafe {
        match strip.fixed {
            Fixed::Twelve => blocks::<2, PAIR_ROWS>(&mut strip),
            Fixed::Seven => blocks::<4, BYTE_ROWS>(&mut strip),
        }
    }
}

/// Rows in blocks of so many, with words of so many numbers.
///
/// # Safety
/// The CPU has AVX2 and FMA, and the strip is checked.
#[target_feature(enable = "avx2,fma")]
unsafe fn blocks<const IN_WORD: usize, const BLOCK: usize>(strip: &mut Strip) {
    for first in (0..strip.rows).step_by(BLOCK) {
        // SAFETY: the caller's promise.
        unsafe {
            match strip.rows - first {
                some if some >= BLOCK => rows::<IN_WORD, BLOCK>(strip, first),
                1 => rows::<IN_WORD, 1>(strip, first),
                2 => rows::<IN_WORD, 2>(strip, first),
                3 => rows::<IN_WORD, 3>(strip, first),
                4 => rows::<IN_WORD, 4>(strip, first),
                _ => rows::<IN_WORD, 5>(strip, first),
            }
        }
    }
}

/// ROWS rows from one on. A function of its own: as part of the loop over them it would want for registers.
///
/// # Safety
/// The CPU has AVX2 and FMA, the strip is checked and has these rows.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const IN_WORD: usize, const ROWS: usize>(strip: &mut Strip, first: usize) {
    // SAFETY: these rows' words lie inside the operand.
    let left: [*const u32; ROWS] = std::array::from_fn(|r| unsafe { strip.left.row(first + r, strip.words) });
    // SAFETY: there are so many words of each row, and of each column of the right operand.
    let sums = unsafe {
        match strip.left {
            Operand::Rows(..) => sums::<IN_WORD, ROWS, 1>(strip, left),
            Operand::Turned(_) => sums::<IN_WORD, ROWS, STRIP>(strip, left),
        }
    };
    if strip.cols < STRIP {
        for (r, sums) in sums.into_iter().enumerate() {
            strip.finish(first + r, &stored(sums));
        }
        return;
    }
    // SAFETY: rows of the destination, a bias and the steps have sixteen numbers each.
    unsafe {
        let dst = strip.dst.as_mut_ptr().add(first * strip.dst_stride);
        let (start, start_stride) = match strip.start {
            Start::Zeros => (ZEROS.as_ptr(), 0),
            Start::Bias(bias) => (bias.as_ptr(), 0),
            Start::Sums => (dst.cast_const(), strip.dst_stride),
        };
        for (r, sums) in sums.into_iter().enumerate() {
            let row_step = _mm256_set1_ps(*strip.row_steps.get_unchecked(first + r));
            for (i, sum) in sums.into_iter().enumerate() {
                let col_steps = _mm256_loadu_ps(strip.col_steps.as_ptr().add(i * LANES));
                let start = _mm256_loadu_ps(start.add(r * start_stride + i * LANES));
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), col_steps);
                let value = _mm256_fmadd_ps(scaled, row_step, start);
                _mm256_storeu_ps(dst.add(r * strip.dst_stride + i * LANES), value);
            }
        }
    }
}

/// Sums of some rows.
type Sums<const ROWS: usize> = [[__m256i; WIDTH]; ROWS];

/// Sums of the products of some rows, whose words lie STEP apart, and the columns of a panel.
///
/// # Safety
/// The CPU has AVX2; the strip is checked, and so many words of each row can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sums<const IN_WORD: usize, const ROWS: usize, const STEP: usize>(
    strip: &Strip,
    left: [*const u32; ROWS],
) -> Sums<ROWS> {
    let (right, words) = (strip.right.as_ptr(), strip.words);
    // SAFETY: there are sixteen first sums, and the rest is the caller's promise.
    unsafe {
        let mut sums = [load_both(strip.firsts.as_ptr().cast()); ROWS];
        if IN_WORD == 2 {
            for w in 0..words {
                add_pairs::<ROWS>(&mut sums, left.map(|row| row.add(w * STEP)), right.add(w * STRIP));
            }
        } else {
            for w in (1..words).step_by(2) {
                let before = w - 1;
                let left = left.map(|row| row.add(before * STEP));
                add_bytes::<ROWS, 2, STEP>(&mut sums, left, right.add(before * STRIP));
            }
            if !words.is_multiple_of(2) {
                let last = words - 1;
                let left = left.map(|row| row.add(last * STEP));
                add_bytes::<ROWS, 1, STEP>(&mut sums, left, right.add(last * STRIP));
            }
        }
        sums
    }
}

/// Adds products of a word of two numbers of each row.
///
/// # Safety
/// The CPU has AVX2; a word can be read of each row, and sixteen on the right.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_pairs<const ROWS: usize>(sums: &mut Sums<ROWS>, left: [*const u32; ROWS], right: *const u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let numbers = load_both(right);
        for (sums, left) in sums.iter_mut().zip(left) {
            let pair = _mm256_set1_epi32(left.read().cast_signed());
            for (sum, numbers) in sums.iter_mut().zip(numbers) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, numbers));
            }
        }
    }
}

/// Adds products of WORDS words of four bytes of each row, at most two: so many fit 16 bits.
///
/// # Safety
/// The CPU has AVX2; WORDS words STEP apart can be read of each row, and sixteen times as many on the right.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_bytes<const ROWS: usize, const WORDS: usize, const STEP: usize>(
    sums: &mut Sums<ROWS>,
    left: [*const u32; ROWS],
    right: *const u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let numbers: [_; WORDS] = std::array::from_fn(|w| load_both(right.add(w * STRIP)));
        for (sums, left) in sums.iter_mut().zip(left) {
            let words: [_; WORDS] =
                std::array::from_fn(|w| _mm256_set1_epi32(left.add(w * STEP).read().cast_signed()));
            for (i, sum) in sums.iter_mut().enumerate() {
                let mut short = _mm256_maddubs_epi16(words[0], numbers[0][i]);
                for w in 1..WORDS {
                    short = _mm256_add_epi16(short, _mm256_maddubs_epi16(words[w], numbers[w][i]));
                }
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, _mm256_set1_epi16(1)));
            }
        }
    }
}

/// What sums of a panel of bytes start at.
pub(crate) fn byte_firsts(_cpu: Avx2, panel: &[u32]) -> [i32; STRIP] {
    // SAFETY: `_cpu` proves AVX2.
    unsafe { negated_column_sums(panel) }
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn negated_column_sums(panel: &[u32]) -> [i32; STRIP] {
    let mut sums = [_mm256_setzero_si256(); WIDTH];
    for words in panel.as_chunks::<STRIP>().0 {
        // SAFETY: sixteen words.
        let numbers = unsafe { load_both(words.as_ptr()) };
        for (sum, numbers) in sums.iter_mut().zip(numbers) {
            let zeros = _mm256_maddubs_epi16(_mm256_set1_epi8(Fixed::Seven.zero() as i8), numbers);
            *sum = _mm256_sub_epi32(*sum, _mm256_madd_epi16(zeros, _mm256_set1_epi16(1)));
        }
    }
    stored(sums)
}

/// The sums of registers.
#[inline]
#[target_feature(enable = "avx2")]
fn stored(registers: [__m256i; WIDTH]) -> [i32; STRIP] {
    let mut sums = [0; STRIP];
    for (sums, register) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(registers) {
        // SAFETY: there is room for eight.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), register) };
    }
    sums
}

/// Products and sums in registers alone; returns the operations made.
pub(crate) fn spin(_cpu: Avx2, fixed: Fixed, rounds: u64) -> u64 {
    // SAFETY: `_cpu` proves AVX2.
    let products = unsafe {
        match fixed {
            Fixed::Twelve => spin_pairs(rounds),
            Fixed::Seven => spin_bytes(rounds),
        }
    };
    2 * rounds * products as u64
}

/// Returns the products of a round.
#[target_feature(enable = "avx2")]
fn spin_pairs(rounds: u64) -> usize {
    let factor = black_box(_mm256_set1_epi16(3));
    let mut sums = [_mm256_set1_epi16(1); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // Each product is of its own sum, so that no two are the same.
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, factor));
        }
    }
    black_box(sums);
    CHAINS * 2 * LANES
}

/// Returns the products of a round.
#[target_feature(enable = "avx2")]
fn spin_bytes(rounds: u64) -> usize {
    /// A sum takes 8 cycles and three multiplications, of which there are two a cycle: six sums would do, twelve do not fit the registers.
    const CHAINS: usize = 8;
    let (factor, ones) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi16(1)));
    let mut sums = [_mm256_set1_epi8(1); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            let short =
                _mm256_add_epi16(_mm256_maddubs_epi16(*sum, factor), _mm256_maddubs_epi16(factor, *sum));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, ones));
        }
    }
    black_box(sums);
    CHAINS * 8 * LANES
}

/// # Safety
/// The CPU has AVX2, and sixteen words can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_both(words: *const u32) -> [__m256i; WIDTH] {
    // SAFETY: the caller's promise.
    unsafe { [load(words), load(words.add(LANES))] }
}

/// # Safety
/// The CPU has AVX2, and eight words can be read.
#[target_feature(enable = "avx2")]
unsafe fn load(words: *const u32) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(words.cast()) }
}
