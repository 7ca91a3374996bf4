//! Numbers rounded to bytes in registers of AVX2 and AVX-512: conversions that no loop is compiled to.

use crate::level::{Avx2, Avx512};
use crate::quantised::{LARGEST_INPUT, QuantisedRows, RUN};
use std::arch::x86_64::*;
use std::ops::Range;

/// [`QuantisedRows::round_run`] with registers of sixteen numbers.
pub(crate) fn round_run_avx512<'a>(
    _cpu: Avx512,
    quantised: &mut QuantisedRows,
    rows: Range<usize>,
    column: usize,
    numbers: impl Iterator<Item = &'a [f32]>,
) {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn run<'a>(
        quantised: &mut QuantisedRows,
        rows: Range<usize>,
        column: usize,
        numbers: impl Iterator<Item = &'a [f32]>,
    ) {
        quantised.round_run(rows, column, numbers, |numbers, per_step, rounded, lanes| {
            round_64_avx512(numbers, per_step, rounded, lanes);
        });
    }
    // SAFETY: `_cpu` proves AVX-512 F and BW.
    unsafe { run(quantised, rows, column, numbers) }
}

/// [`QuantisedRows::round_run`] with registers of eight numbers.
pub(crate) fn round_run_avx2<'a>(
    _cpu: Avx2,
    quantised: &mut QuantisedRows,
    rows: Range<usize>,
    column: usize,
    numbers: impl Iterator<Item = &'a [f32]>,
) {
    #[target_feature(enable = "avx2")]
    fn run<'a>(
        quantised: &mut QuantisedRows,
        rows: Range<usize>,
        column: usize,
        numbers: impl Iterator<Item = &'a [f32]>,
    ) {
        quantised.round_run(rows, column, numbers, |numbers, per_step, rounded, lanes| {
            round_64_avx2(numbers, per_step, rounded, lanes);
        });
    }
    // SAFETY: `_cpu` proves AVX2.
    unsafe { run(quantised, rows, column, numbers) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn round_64_avx512(numbers: &[f32; RUN], per_step: f32, rounded: &mut [i8; RUN], lanes: &mut [i32; 16]) {
    let (per_step, most) = (_mm512_set1_ps(per_step), _mm512_set1_ps(LARGEST_INPUT));
    let least = _mm512_set1_ps(-LARGEST_INPUT);
    // SAFETY: sixteen words are read where sixteen words are.
    let mut sums = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
    let mut whole = [_mm512_setzero_si512(); 4];
    for (whole, numbers) in whole.iter_mut().zip(numbers.as_chunks::<16>().0) {
        // SAFETY: sixteen numbers are read where sixteen numbers are.
        let steps = _mm512_mul_ps(unsafe { _mm512_loadu_ps(numbers.as_ptr()) }, per_step);
        // To the nearest, ties to even. Of a NaN the second operand is left.
        *whole = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(steps, least), most));
        sums = _mm512_add_epi32(sums, *whole);
    }
    // Quarters of a register are packed by themselves, each four bytes of every operand.
    let [a, b, c, d] = whole;
    let bytes = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let bytes = _mm512_permutexvar_epi32(order, bytes);
    // SAFETY: 64 bytes are written where 64 bytes are, and sixteen words where sixteen words are.
    unsafe {
        _mm512_storeu_si512(rounded.as_mut_ptr().cast(), bytes);
        _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums);
    }
}

#[target_feature(enable = "avx2")]
fn round_64_avx2(numbers: &[f32; RUN], per_step: f32, rounded: &mut [i8; RUN], lanes: &mut [i32; 16]) {
    let (per_step, most) = (_mm256_set1_ps(per_step), _mm256_set1_ps(LARGEST_INPUT));
    let least = _mm256_set1_ps(-LARGEST_INPUT);
    let lanes = lanes.as_chunks_mut::<8>().0;
    for (numbers, rounded) in numbers.as_chunks::<32>().0.iter().zip(rounded.as_chunks_mut::<32>().0) {
        let mut whole = [_mm256_setzero_si256(); 4];
        for (i, (whole, numbers)) in whole.iter_mut().zip(numbers.as_chunks::<8>().0).enumerate() {
            // SAFETY: eight words are read, and written, where eight words are.
            unsafe {
                let steps = _mm256_mul_ps(_mm256_loadu_ps(numbers.as_ptr()), per_step);
                // To the nearest, ties to even. Of a NaN the second operand is left.
                *whole = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(steps, least), most));
                let lanes = lanes[i % 2].as_mut_ptr().cast();
                _mm256_storeu_si256(lanes, _mm256_add_epi32(_mm256_loadu_si256(lanes), *whole));
            }
        }
        // Halves of a register are packed by themselves, each four bytes of every operand.
        let [a, b, c, d] = whole;
        let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        // SAFETY: 32 bytes are written where 32 bytes are.
        unsafe { _mm256_storeu_si256(rounded.as_mut_ptr().cast(), bytes) };
    }
}
