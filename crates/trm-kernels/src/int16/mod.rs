//! Matrix products of 16-bit whole numbers with 32-bit sums: more of them in a second than f32 on CPUs that have AVX2 and no
//! products of bfloat16 numbers, at 12 bits with the sign, next to the largest number of a row.
//!
//! A row of a left operand counts steps of a 2047th of its largest magnitude, a column of a right operand likewise. Then sums of
//! 512 products are exact, and what they stand for is the sum times both steps. Operands are rounded once and used many times:
//! [`Int16Panels`] on the right, [`Int16Rows`] on the left. Every element of a product is made in the same way whatever the number
//! of rows, and with the same bits at every level.

mod panels;
mod rows;
mod tile;

use crate::bf16::Start;
use crate::math::{WHOLE, largest_magnitude};
pub use panels::Int16Panels;
pub use rows::Int16Rows;
use std::cell::RefCell;
use std::ops::Range;
use tile::Kernel;
pub(crate) use tile::{Left, Round, STRIP, Strip, Turn};

/// Largest magnitude of a rounded number.
const LARGEST: f32 = 2047.0;
/// Most products of a 32-bit sum: `512 * 2047^2 < 2^31`.
const LONGEST_SUM: usize = 512;
/// The same in pairs.
const MOST_PAIRS: usize = LONGEST_SUM / 2;

/// A number rounded to the nearest whole one, ties to even, in the low bits; the number is below 2^15.
#[inline(always)]
pub(crate) fn round(value: f32) -> i16 {
    (value + WHOLE).to_bits() as i16
}

thread_local! {
    /// The left operand of a product that rounds it.
    static LEFT: RefCell<Int16Rows> = RefCell::default();
}

/// Some columns of `a b`, from a whole panel of 16 on, and what they start from; both operands are rounded.
///
/// # Shapes
/// `a` is `[rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// As [`matmul_int16_rows`].
pub fn matmul_int16(
    rows: usize,
    a: &[f32],
    (b, columns): (&Int16Panels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    LEFT.with_borrow_mut(|left| {
        left.pack([rows, b.inner()], a);
        matmul_int16_rows(left, 0..rows, (b, columns), dst, start);
    });
}

/// Some rows and columns of `a b`, the columns from a whole panel of 16 on, and what they start from.
///
/// # Shapes
/// `a` is `[all rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, the first column is no multiple of 16, or the rows or columns do not lie inside the operands.
pub fn matmul_int16_rows(
    a: &Int16Rows,
    rows: Range<usize>,
    (b, columns): (&Int16Panels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    assert_eq!(a.inner(), b.inner(), "a is [rows, inner], b is [inner, cols]");
    assert!(rows.end <= a.rows(), "rows of a");
    assert!(columns.start.is_multiple_of(STRIP) && columns.end <= b.cols(), "columns of b, from a panel on");
    assert_eq!(dst.len(), rows.len() * columns.len(), "dst is [rows, columns]");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), columns.len(), "a bias for each column");
    }
    if rows.is_empty() {
        return;
    }
    let (kernel, stride, dst_stride) = (Kernel::of_level(), a.stride(), columns.len());
    for column in columns.clone().step_by(STRIP) {
        let cols = STRIP.min(columns.end - column);
        let (panel, col_steps) = b.panel(column / STRIP);
        let at = column - columns.start;
        for first_pair in (0..b.pairs().max(1)).step_by(MOST_PAIRS) {
            let pairs = MOST_PAIRS.min(b.pairs() - first_pair);
            let start = if first_pair > 0 { Start::Sums } else { start.of(&(at..at + cols)) };
            (kernel.strip)(Strip {
                rows: rows.len(),
                cols,
                pairs,
                left: Left::Rows(&a.words()[rows.start * stride + first_pair..], stride),
                right: &panel[first_pair * STRIP..],
                row_steps: &a.steps()[rows.clone()],
                col_steps,
                start,
                dst: &mut dst[at..],
                dst_stride,
            });
        }
    }
}

/// `d_weight += d^T x`, summed over the pairs of d and x: the gradient of a weight matrix. It makes no difference how many calls add
/// the pairs.
///
/// Rows of one d or x, up to 512 of them, are rounded again to the largest of their steps.
///
/// # Shapes
/// Each d is `[rows, out]`, of which the columns `outputs` are used, each x is `[rows, inputs]`; rows may differ from pair to
/// pair. `d_weight` is `[outputs, inputs]`.
///
/// # Panics
/// If the shapes do not fit, or the first output is no multiple of 16.
pub fn weight_gradient_int16(
    pairs: &[(&Int16Rows, &Int16Rows)],
    outputs: Range<usize>,
    d_weight: &mut [f32],
) {
    thread_local! {
        /// d^T and x, the latter a panel at a time.
        static OPERANDS: RefCell<[Vec<u32>; 2]> = RefCell::default();
    }
    assert!(outputs.start.is_multiple_of(STRIP), "outputs from a strip on");
    if outputs.is_empty() {
        return;
    }
    let kernel = Kernel::of_level();
    OPERANDS.with_borrow_mut(|[left, right]| {
        for (d, x) in pairs {
            let inputs = x.inner();
            assert!(d.rows() == x.rows() && outputs.end <= d.inner(), "d and x have the same rows");
            assert_eq!(d_weight.len(), outputs.len() * inputs, "d_weight is [outputs, inputs]");
            for first in (0..d.rows()).step_by(LONGEST_SUM) {
                let rows = first..(first + LONGEST_SUM).min(d.rows());
                let strip_words = rows.len().div_ceil(2) * STRIP;
                let in_steps = |operand: &Int16Rows| {
                    let steps = &operand.steps()[rows.clone()];
                    let largest = largest_magnitude(steps);
                    (largest, shares(steps, largest))
                };
                let ((d_step, d_shares), (x_step, x_shares)) = (in_steps(d), in_steps(x));
                left.resize(outputs.len().div_ceil(STRIP) * strip_words, 0);
                for (strip, turned) in (outputs.start / STRIP..).zip(left.chunks_exact_mut(strip_words)) {
                    (kernel.turn)(d.turn(&rows, strip, &d_shares, turned));
                }
                right.resize(strip_words, 0);
                let row_steps = vec![d_step; outputs.len()];
                for input in (0..inputs).step_by(STRIP) {
                    (kernel.turn)(x.turn(&rows, input / STRIP, &x_shares, right));
                    (kernel.strip)(Strip {
                        rows: outputs.len(),
                        cols: STRIP.min(inputs - input),
                        pairs: strip_words / STRIP,
                        left: Left::Turned(left),
                        right,
                        row_steps: &row_steps,
                        col_steps: &[x_step; STRIP],
                        start: Start::Sums,
                        dst: &mut d_weight[input..],
                        dst_stride: inputs,
                    });
                }
            }
        }
    });
}

/// What one step is where the largest magnitude is 2047 of them, and what numbers are multiplied by to count steps: 0 where there is
/// nothing to count, or nothing that is a number.
#[inline(always)]
pub(crate) fn scale(largest: f32) -> [f32; 2] {
    /// Below this the second would be infinite.
    const LEAST: f32 = LARGEST * f32::MIN_POSITIVE;
    let counts = if largest >= LEAST && largest.is_finite() { LARGEST / largest } else { 0.0 };
    [largest * (1.0 / LARGEST), counts]
}

/// Each step as a share of the largest, in 2^-15ths; all of it is one of them less.
fn shares(steps: &[f32], largest: f32) -> Vec<i16> {
    let share = if largest.is_finite() && largest > 0.0 { 1.0 / largest } else { 0.0 };
    // A conversion to i16 saturates, and makes 0 of NaN.
    steps.iter().map(|step| (step * share * 32_768.0).round_ties_even() as i16).collect()
}

#[cfg(test)]
mod tests;
