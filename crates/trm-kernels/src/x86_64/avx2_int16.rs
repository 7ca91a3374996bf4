//! Products of 16-bit whole numbers with AVX2: `vpmaddwd` adds two products for each of eight 32-bit sums.

use crate::bf16::Start;
use crate::int16::{Left, Round, STRIP, Strip, Turn, round as round_one, scale};
use crate::math::largest_magnitude;
use crate::peak::CHAINS;
use std::arch::x86_64::*;
use std::hint::black_box;

/// Sums in a register.
const LANES: usize = 8;
/// Registers of a row of sums.
const WIDTH: usize = STRIP / LANES;

/// Rows that are multiplied at once: with two registers of sums each 12 of sixteen, which leaves four for operands.
const BLOCK: usize = 6;

/// What a row starts from, where there is no bias.
static ZEROS: [f32; STRIP] = [0.0; STRIP];

/// Multiplies by a panel. Call it at level AVX2 and above only.
pub(crate) fn strip(mut strip: Strip) {
    strip.check();
    for first in (0..strip.rows).step_by(BLOCK) {
        // SAFETY: the level says that the CPU has AVX2 and FMA; the rest is checked.
        unsafe {
            match strip.rows - first {
                1 => rows::<1>(&mut strip, first),
                2 => rows::<2>(&mut strip, first),
                3 => rows::<3>(&mut strip, first),
                4 => rows::<4>(&mut strip, first),
                5 => rows::<5>(&mut strip, first),
                _ => rows::<BLOCK>(&mut strip, first),
            }
        }
    }
}

/// ROWS rows from one on.
///
/// # Safety
/// The CPU has AVX2 and FMA, the strip is checked and has these rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const ROWS: usize>(strip: &mut Strip, first: usize) {
    // SAFETY: these rows' words lie inside the operand.
    let left: [*const u32; ROWS] = std::array::from_fn(|r| unsafe { strip.left.row(first + r, strip.pairs) });
    // SAFETY: there are `pairs` words of each row, and of each column of the right operand.
    let sums = unsafe {
        match strip.left {
            Left::Rows(..) => sums::<ROWS, 1>(left, strip.right.as_ptr(), strip.pairs),
            Left::Turned(_) => sums::<ROWS, STRIP>(left, strip.right.as_ptr(), strip.pairs),
        }
    };
    if strip.cols < STRIP {
        for (r, registers) in sums.into_iter().enumerate() {
            let mut sums = [0; STRIP];
            for (sums, register) in sums.as_chunks_mut::<LANES>().0.iter_mut().zip(registers) {
                // SAFETY: there is room for eight.
                unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), register) };
            }
            strip.finish(first + r, &sums);
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

/// Sums of the products of some rows, whose words lie STEP apart, and the columns of a panel.
///
/// # Safety
/// The CPU has AVX2; so many pairs can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sums<const ROWS: usize, const STEP: usize>(
    left: [*const u32; ROWS],
    right: *const u32,
    pairs: usize,
) -> [[__m256i; WIDTH]; ROWS] {
    let mut sums = [[_mm256_setzero_si256(); WIDTH]; ROWS];
    for p in 0..pairs {
        // SAFETY: the caller's promise.
        unsafe {
            let numbers: [__m256i; WIDTH] = [load(right.add(p * STRIP)), load(right.add(p * STRIP + LANES))];
            for (sums, left) in sums.iter_mut().zip(&left) {
                let pair = _mm256_set1_epi32(left.add(p * STEP).read().cast_signed());
                for (sum, numbers) in sums.iter_mut().zip(numbers) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, numbers));
                }
            }
        }
    }
    sums
}

/// Turns a strip. Call it at level AVX2 and above only.
pub(crate) fn turn(turn: Turn) {
    turn.check();
    // SAFETY: the level says that the CPU has AVX2; the rest is checked.
    unsafe { turn_pairs(turn) }
}

/// # Safety
/// The CPU has AVX2, and the strip is checked.
#[target_feature(enable = "avx2")]
unsafe fn turn_pairs(Turn { rows, stride, shares, turned }: Turn) {
    for (pair, shares) in shares.chunks(2).enumerate() {
        // SAFETY: there is a row for each share, with sixteen numbers, and sixteen words for each pair of rows.
        unsafe {
            let row = |i: usize| {
                let numbers = load(rows.as_ptr().add((2 * pair + i) * stride));
                _mm256_mulhrs_epi16(numbers, _mm256_set1_epi16(shares[i]))
            };
            let (first, second) = (row(0), if shares.len() > 1 { row(1) } else { _mm256_setzero_si256() });
            // Words of the columns 0 to 3 and 8 to 11, and of those between and behind them.
            let low = _mm256_unpacklo_epi16(first, second);
            let high = _mm256_unpackhi_epi16(first, second);
            let words = turned.as_mut_ptr().add(pair * STRIP);
            _mm256_storeu_si256(words.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(words.add(LANES).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
        }
    }
}

/// Rounds rows. Call it at level AVX2 and above only.
pub(crate) fn round(round: Round) {
    // SAFETY: the level says that the CPU has AVX2.
    unsafe { round_rows(round) }
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn round_rows(Round { values, width, numbers, steps }: Round) {
    /// Rows whose largest magnitudes are found before the first of them is rounded: so their divisions go side by side.
    const SOME: usize = 8;
    let stride = width.next_multiple_of(STRIP);
    let some_rows = values.chunks(SOME * width).zip(numbers.chunks_mut(SOME * stride));
    for ((values, numbers), steps) in some_rows.zip(steps.chunks_mut(SOME)) {
        let mut largest = [0.0; SOME];
        for (largest, row) in largest.iter_mut().zip(values.chunks_exact(width)) {
            *largest = largest_of(row);
        }
        let scales = largest.map(scale);
        let rows = values.chunks_exact(width).zip(numbers.chunks_exact_mut(stride));
        for ((row, numbers), (kept, [step, per_step])) in rows.zip(steps.iter_mut().zip(scales)) {
            *kept = step;
            let per_steps = _mm256_set1_ps(per_step);
            let (runs, rest) = row.as_chunks::<STRIP>();
            for (run, numbers) in runs.iter().zip(numbers.as_chunks_mut::<STRIP>().0) {
                // SAFETY: sixteen numbers each.
                unsafe {
                    let counts = |i: usize| {
                        let values = _mm256_loadu_ps(run.as_ptr().add(i * LANES));
                        _mm256_cvtps_epi32(_mm256_mul_ps(values, per_steps))
                    };
                    // The halves of both registers alternate, and are put in order.
                    let counts = _mm256_packs_epi32(counts(0), counts(1));
                    let counts = _mm256_permute4x64_epi64::<0b1101_1000>(counts);
                    _mm256_storeu_si256(numbers.as_mut_ptr().cast(), counts);
                }
            }
            for (number, value) in numbers[runs.len() * STRIP..].iter_mut().zip(rest) {
                *number = round_one(value * per_step);
            }
        }
    }
}

/// [`largest_magnitude`] of a row.
#[inline]
#[target_feature(enable = "avx2")]
fn largest_of(row: &[f32]) -> f32 {
    let (runs, rest) = row.as_chunks::<STRIP>();
    let mut most = [_mm256_setzero_si256(); WIDTH];
    let magnitude = _mm256_set1_epi32(i32::MAX);
    for run in runs {
        for (i, most) in most.iter_mut().enumerate() {
            // SAFETY: a run has sixteen numbers.
            let bits = unsafe { load(run.as_ptr().add(i * LANES).cast()) };
            *most = _mm256_max_epi32(*most, _mm256_and_si256(bits, magnitude));
        }
    }
    let most = _mm256_max_epi32(most[0], most[1]);
    let most = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256::<1>(most));
    let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b0100_1110>(most));
    let most = _mm_max_epi32(most, _mm_shuffle_epi32::<0b1011_0001>(most));
    let most = _mm_cvtsi128_si32(most).max(largest_magnitude(rest).to_bits().cast_signed());
    f32::from_bits(most.cast_unsigned())
}

/// Products and sums in registers alone; returns the operations made. Call it at level AVX2 and above only.
pub(crate) fn spin(rounds: u64) -> u64 {
    // SAFETY: the level says that the CPU has AVX2.
    unsafe { spin_registers(rounds) }
    2 * rounds * (CHAINS * 2 * LANES) as u64
}

#[target_feature(enable = "avx2")]
fn spin_registers(rounds: u64) {
    let factor = black_box(_mm256_set1_epi16(3));
    let mut sums = [_mm256_set1_epi16(1); CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            // Each product is of its own sum, so that no two are the same.
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, factor));
        }
    }
    black_box(sums);
}

/// # Safety
/// The CPU has AVX2, and eight words can be read.
#[target_feature(enable = "avx2")]
unsafe fn load(words: *const u32) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_loadu_si256(words.cast()) }
}
