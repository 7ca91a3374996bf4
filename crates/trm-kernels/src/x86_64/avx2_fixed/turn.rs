//! Rows of fixed-point numbers turned into words of several rows, for sums over rows.

use super::{LANES, load};
use crate::fixed::{Fixed, STRIP, Turn};
use crate::level::Avx2;
use std::arch::x86_64::*;

/// Turns a strip.
///
/// # Panics
/// If something lies outside its slice.
pub(crate) fn turn_strip(_cpu: Avx2, turn: Turn) {
    turn.check();
    // SAFETY: `_cpu` proves AVX2; the rest is checked.
    unsafe {
        match turn.fixed {
            Fixed::Twelve => turn_pairs(turn),
            Fixed::Seven => turn_bytes(turn),
        }
    }
}

/// # Safety
/// The CPU has AVX2, and the strip is checked.
#[target_feature(enable = "avx2")]
unsafe fn turn_pairs(Turn { words, stride, shares, turned, .. }: Turn) {
    let rows = shares.len();
    // SAFETY: a row has sixteen numbers, and there are sixteen words for each pair of rows.
    unsafe {
        let row = |r: usize| match shares.get(r) {
            Some(share) => {
                _mm256_mulhrs_epi16(load(words.as_ptr().add(r * stride)), _mm256_set1_epi16(*share))
            }
            None => _mm256_setzero_si256(),
        };
        for r in (0..rows).step_by(2) {
            let (first, second) = (row(r), row(r + 1));
            // Words of the columns 0 to 3 and 8 to 11, and of those between and behind them.
            let low = _mm256_unpacklo_epi16(first, second);
            let high = _mm256_unpackhi_epi16(first, second);
            let words = turned.as_mut_ptr().add(r / 2 * STRIP);
            _mm256_storeu_si256(words.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(words.add(LANES).cast(), _mm256_permute2x128_si256::<0x31>(low, high));
        }
    }
}

/// # Safety
/// The CPU has AVX2, and the strip is checked.
#[target_feature(enable = "avx2")]
unsafe fn turn_bytes(turn: Turn) {
    let added = _mm256_set1_epi16(turn.zero() as i16);
    let Turn { words, stride, shares, turned, .. } = turn;
    let rows = shares.len();
    // SAFETY: a row has sixteen bytes, and there are sixteen words for each four rows.
    unsafe {
        let row = |r: usize| {
            let Some(share) = shares.get(r) else { return _mm_setzero_si128() };
            let bytes = _mm_loadu_si128(words.as_ptr().add(r * stride).cast());
            let zero = _mm256_set1_epi16(Fixed::Seven.zero() as i16);
            let numbers = _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), zero);
            let scaled = _mm256_mulhrs_epi16(numbers, _mm256_set1_epi16(*share));
            let numbers = _mm256_add_epi16(scaled, added);
            _mm_packs_epi16(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers))
        };
        for r in (0..rows).step_by(4) {
            let rows = [row(r), row(r + 1), row(r + 2), row(r + 3)];
            let halves = [
                [_mm_unpacklo_epi8(rows[0], rows[1]), _mm_unpacklo_epi8(rows[2], rows[3])],
                [_mm_unpackhi_epi8(rows[0], rows[1]), _mm_unpackhi_epi8(rows[2], rows[3])],
            ];
            let words: *mut __m128i = turned.as_mut_ptr().add(r / 4 * STRIP).cast();
            for (half, [first, second]) in halves.into_iter().enumerate() {
                _mm_storeu_si128(words.add(2 * half), _mm_unpacklo_epi16(first, second));
                _mm_storeu_si128(words.add(2 * half + 1), _mm_unpackhi_epi16(first, second));
            }
        }
    }
}
