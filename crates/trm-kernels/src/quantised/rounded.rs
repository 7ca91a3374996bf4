//! Inputs rounded to 8 bits.

use super::QuantisedPanels;
use crate::bf16::{TILE, TILE_WORDS, Words};
use crate::vectorize;

/// Numbers in a word.
const BYTES: usize = 4;
/// Largest magnitude of a rounded input.
const LARGEST_INPUT: f32 = 127.0;

/// The left operand of the product in progress.
#[derive(Default)]
pub(super) struct Rounded {
    /// p, `[rows, row_len]`, unless they are in strips
    pub values: Vec<i8>,
    /// p in strips of 16 rows, up to an even number of them: words of four bytes, where bfloat16 has pairs.
    pub strips: Words,
    /// Sum of p over each group, `[rows, groups]`.
    pub sums: Vec<i32>,
    /// `[rows]`
    pub steps: Vec<f32>,
}

impl Rounded {
    /// Rounds rows to multiples of `step`, or of a 127th of the largest magnitude of each, for products with b.
    pub fn round_rows(&mut self, a: &[f32], step: Option<f32>, b: &QuantisedPanels, in_strips: bool) {
        let Self { values, strips, sums, steps } = self;
        let (row_len, group_len) = (b.row_len(), b.group_words * b.bits.in_word());
        let rows = a.len() / b.inner;
        values.clear();
        values.resize(if in_strips { row_len } else { rows * row_len }, 0);
        let row_words = row_len / BYTES;
        strips.resize(if in_strips { rows.next_multiple_of(2 * TILE) * row_words } else { 0 }, 0);
        sums.clear();
        steps.clear();
        vectorize(
            #[inline(always)]
            || {
                for (r, row) in a.chunks_exact(b.inner).enumerate() {
                    let place = if in_strips { 0 } else { r * row_len };
                    let values = &mut values[place..place + row_len];
                    let step = step.unwrap_or_else(
                        #[inline(always)]
                        || largest_magnitude(row) / LARGEST_INPUT,
                    );
                    round_row(row, step, &mut values[..b.inner]);
                    let group_sum = |group: &[i8]| group.iter().map(|p| i32::from(*p)).sum::<i32>();
                    sums.extend(values.chunks_exact(group_len).map(group_sum));
                    steps.push(step);
                    if in_strips {
                        to_strip(r, values, strips);
                    }
                }
            },
        );
        if in_strips {
            values.clear();
        }
    }
}

/// Puts row r, of whole tiles, into its strip.
#[inline(always)]
fn to_strip(r: usize, values: &[i8], strips: &mut [u32]) {
    let strip = &mut strips[r / TILE * TILE * values.len() / BYTES..];
    let tiles = strip.chunks_exact_mut(TILE_WORDS).map(|tile| &mut tile[r % TILE * TILE..][..TILE]);
    for (words, bytes) in tiles.zip(values.chunks_exact(TILE * BYTES)) {
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<BYTES>().0) {
            *word = u32::from_le_bytes(bytes.map(i8::cast_unsigned));
        }
    }
}

/// By the bits, whose order is that of magnitudes: infinity and NaN come last, so that neither goes unnoticed.
#[inline(always)]
pub(super) fn largest_magnitude(row: &[f32]) -> f32 {
    f32::from_bits(row.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7fff_ffff)))
}

/// `p = a / step` rounded to the nearest whole number, ties to even, at most 127 in magnitude.
#[inline(always)]
pub(super) fn round_row(row: &[f32], step: f32, values: &mut [i8]) {
    /// 1.5 * 2^23: numbers of this size are whole, so adding it rounds, and the low bits of the sum are the number.
    const WHOLE: f32 = 12_582_912.0;
    let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
    for (p, v) in values.iter_mut().zip(row) {
        let v = (v * per_step).clamp(-LARGEST_INPUT, LARGEST_INPUT);
        *p = (v + WHOLE).to_bits() as i8;
    }
}
