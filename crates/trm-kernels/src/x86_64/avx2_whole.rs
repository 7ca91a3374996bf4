//! Products of whole numbers with AVX2. `vpmaddwd` adds two products of 16-bit numbers for each of eight 32-bit sums, `vpmaddubsw`
//! two products of bytes for each of sixteen 16-bit sums.

use crate::bf16::Start;
use crate::math::largest_magnitude;
use crate::peak::CHAINS;
use crate::whole::{Left, Round, STRIP, Strip, Turn, Whole, round as round_one};
use std::arch::x86_64::*;
use std::hint::black_box;

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

/// Multiplies by a panel. Call it at level AVX2 and above only.
pub(crate) fn strip(mut strip: Strip) {
    strip.check();
    // SAFETY: the level says that the CPU has AVX2 and FMA; the rest is checked.
    unsafe {
        match strip.whole {
            Whole::Int16 => blocks::<2, PAIR_ROWS>(&mut strip),
            Whole::Int8 => blocks::<4, BYTE_ROWS>(&mut strip),
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
            Left::Rows(..) => sums::<IN_WORD, ROWS, 1>(strip, left),
            Left::Turned(_) => sums::<IN_WORD, ROWS, STRIP>(strip, left),
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

/// What sums of a panel of bytes start at. Call it at level AVX2 and above only.
pub(crate) fn byte_firsts(panel: &[u32]) -> [i32; STRIP] {
    // SAFETY: the level says that the CPU has AVX2.
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
            let zeros = _mm256_maddubs_epi16(_mm256_set1_epi8(Whole::Int8.zero() as i8), numbers);
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

/// Turns a strip. Call it at level AVX2 and above only.
pub(crate) fn turn(turn: Turn) {
    turn.check();
    // SAFETY: the level says that the CPU has AVX2; the rest is checked.
    unsafe {
        match turn.whole {
            Whole::Int16 => turn_pairs(turn),
            Whole::Int8 => turn_bytes(turn),
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
            let zero = _mm256_set1_epi16(Whole::Int8.zero() as i16);
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

/// Rounds rows. Call it at level AVX2 and above only.
pub(crate) fn round(round: Round) {
    // SAFETY: the level says that the CPU has AVX2.
    unsafe { round_rows(round) }
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn round_rows(Round { whole, values, width, words, steps }: Round) {
    /// Rows whose largest magnitudes are found before the first of them is rounded: so their divisions go side by side.
    const SOME: usize = 8;
    let stride = width.next_multiple_of(STRIP) / whole.in_word();
    let some_rows = values.chunks(SOME * width).zip(words.chunks_mut(SOME * stride));
    for ((values, words), steps) in some_rows.zip(steps.chunks_mut(SOME)) {
        let mut largest = [0.0; SOME];
        for (largest, row) in largest.iter_mut().zip(values.chunks_exact(width)) {
            *largest = largest_of(row);
        }
        let scales = largest.map(|largest| whole.scale(largest));
        let rows = values.chunks_exact(width).zip(words.chunks_exact_mut(stride));
        for ((row, words), (kept, [step, per_step])) in rows.zip(steps.iter_mut().zip(scales)) {
            *kept = step;
            match whole {
                Whole::Int16 => round_to_pairs(row, per_step, bytemuck::cast_slice_mut(words)),
                Whole::Int8 => round_to_bytes(row, per_step, bytemuck::cast_slice_mut(words)),
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
        *number = round_one(value * per_step) as i16;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn round_to_bytes(row: &[f32], per_step: f32, bytes: &mut [u8]) {
    let zeros = _mm256_set1_epi8(Whole::Int8.zero() as i8);
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
        *byte = (round_one(value * per_step) + Whole::Int8.zero()) as u8;
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

/// Products and sums in registers alone; returns the operations made. Call it at level AVX2 and above only.
pub(crate) fn spin(whole: Whole, rounds: u64) -> u64 {
    // SAFETY: the level says that the CPU has AVX2.
    let products = unsafe {
        match whole {
            Whole::Int16 => spin_pairs(rounds),
            Whole::Int8 => spin_bytes(rounds),
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

/// The same.
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
