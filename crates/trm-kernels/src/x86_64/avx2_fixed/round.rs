//! Rows of f32 numbers rounded to counts of a step that each row has for itself.

use super::{LANES, WIDTH, load};
use crate::fixed::{Fixed, STRIP, Unrounded, nearest};
use crate::level::Avx2;
use crate::math::largest_magnitude;
use std::arch::x86_64::*;

/// Rounds rows.
///
/// # Panics
/// If rows have no width.
pub(crate) fn round(_cpu: Avx2, rows: Unrounded) {
    // SAFETY: `_cpu` proves AVX2.
    unsafe { round_rows(rows) }
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn round_rows(Unrounded { fixed, values, width, words, steps }: Unrounded) {
    /// Rows whose largest magnitudes are found before the first of them is rounded: so their divisions go side by side.
    const SOME: usize = 8;
    let stride = width.next_multiple_of(STRIP) / fixed.in_word();
    let some_rows = values.chunks(SOME * width).zip(words.chunks_mut(SOME * stride));
    for ((values, words), steps) in some_rows.zip(steps.chunks_mut(SOME)) {
        let mut largest = [0.0; SOME];
        for (largest, row) in largest.iter_mut().zip(values.chunks_exact(width)) {
            *largest = largest_of(row);
        }
        let scales = largest.map(|largest| fixed.scale(largest));
        let rows = values.chunks_exact(width).zip(words.chunks_exact_mut(stride));
        for ((row, words), (kept, [step, per_step])) in rows.zip(steps.iter_mut().zip(scales)) {
            *kept = step;
            match fixed {
                Fixed::Twelve => round_to_pairs(row, per_step, bytemuck::cast_slice_mut(words)),
                Fixed::Seven => round_to_bytes(row, per_step, bytemuck::cast_slice_mut(words)),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn round_to_pairs(row: &[f32], per_step: f32, numbers: &mut [i16]) {
    let (runs, rest) = row.as_chunks::<STRIP>();
    for (run, numbers) in runs.iter().zip(numbers.as_chunks_mut::<STRIP>().0) {
        let counts = _mm256_packs_epi32(counts(run, per_step), counts(&run[LANES..], per_step));
        // The halves of both registers alternate, and are put in order.
        let counts = _mm256_permute4x64_epi64::<0b1101_1000>(counts);
        // SAFETY: there is room for sixteen numbers.
        unsafe { _mm256_storeu_si256(numbers.as_mut_ptr().cast(), counts) };
    }
    for (number, value) in numbers[runs.len() * STRIP..].iter_mut().zip(rest) {
        *number = nearest(value * per_step) as i16;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn round_to_bytes(row: &[f32], per_step: f32, bytes: &mut [u8]) {
    let zeros = _mm256_set1_epi8(Fixed::Seven.zero() as i8);
    let (runs, rest) = row.as_chunks::<{ 4 * LANES }>();
    for (run, bytes) in runs.iter().zip(bytes.as_chunks_mut::<{ 4 * LANES }>().0) {
        let [first, second] = [0, 2].map(|i| {
            _mm256_packs_epi32(counts(&run[i * LANES..], per_step), counts(&run[(i + 1) * LANES..], per_step))
        });
        // The words of the four registers alternate, and are put in order.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let counts = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(first, second), order);
        // SAFETY: there is room for so many bytes.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), _mm256_add_epi8(counts, zeros)) };
    }
    for (byte, value) in bytes[row.len() - rest.len()..].iter_mut().zip(rest) {
        *byte = (nearest(value * per_step) + Fixed::Seven.zero()) as u8;
    }
}

/// The nearest whole numbers of steps of eight values.
#[inline]
#[target_feature(enable = "avx2")]
fn counts(values: &[f32], per_step: f32) -> __m256i {
    let values = values.first_chunk::<LANES>().expect("eight values");
    // SAFETY: so many can be read.
    let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
    _mm256_cvtps_epi32(_mm256_mul_ps(values, _mm256_set1_ps(per_step)))
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
