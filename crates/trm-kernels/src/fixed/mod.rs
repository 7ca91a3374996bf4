//! Matrix products of fixed-point numbers with 32-bit sums: more of them in a second than f32 on CPUs that have AVX2 and no
//! products of bfloat16 numbers.
//!
//! A row of a left operand counts steps of a 2047th or a 63rd of its largest magnitude, a column of a right operand likewise. Then
//! sums are exact, and what they stand for is the sum times both steps. Every element of a product is made in the same way
//! whatever the number of rows, and with the same bits at every level.
//!
//! AVX2 multiplies unsigned bytes by signed ones. So bytes of a left operand are stored with 64 more than they stand for, and a sum
//! starts at -64 times the sum of its column of the right operand, which takes that out again.

mod kernel;
mod panels;
mod rows;

use crate::layout::Start;
use crate::math::{WHOLE, largest_magnitude};
use kernel::Kernel;
pub(crate) use kernel::{Operand, STRIP, Side, Strip, Turn, Unrounded};
pub(crate) use panels::FixedPanels;
pub(crate) use rows::FixedRows;
use std::cell::RefCell;
use std::ops::Range;

/// Fixed numbers that operands are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// 12 bits with the sign, in 16: from -2047 to 2047. Sums of 512 products are exact.
    Twelve,
    /// 7 bits with the sign, in 8: from -63 to 63. So two pairs of products fit 16 bits, `4 127 63 < 2^15`, and sums of 2^18 are exact.
    Seven,
}

impl Fixed {
    /// Largest magnitude.
    #[inline(always)]
    pub(crate) const fn largest(self) -> f32 {
        match self {
            Self::Twelve => 2047.0,
            Self::Seven => 63.0,
        }
    }

    /// Numbers in a word.
    #[inline(always)]
    pub(crate) const fn in_word(self) -> usize {
        match self {
            Self::Twelve => 2,
            Self::Seven => 4,
        }
    }

    /// What is added to a number of a left operand where it is stored.
    #[inline(always)]
    pub(crate) const fn zero(self) -> i32 {
        match self {
            Self::Twelve => 0,
            Self::Seven => 64,
        }
    }

    /// Most products of a 32-bit sum.
    const fn longest_sum(self) -> usize {
        match self {
            Self::Twelve => 512,
            Self::Seven => 1 << 18,
        }
    }

    /// Words of a row of a left operand, which has whole strips.
    fn row_words(self, inner: usize) -> usize {
        inner.next_multiple_of(STRIP) / self.in_word()
    }

    /// A number in its place in a word; one of a left operand has its zero in it.
    #[inline(always)]
    fn in_place(self, number: i32, place: usize) -> u32 {
        match self {
            Self::Twelve => u32::from(number as u16) << (16 * place),
            Self::Seven => u32::from(number as u8) << (8 * place),
        }
    }

    /// A number of a left operand, with its zero in it.
    #[inline(always)]
    fn left(self, word: u32, place: usize) -> i32 {
        match self {
            Self::Twelve => i32::from((word >> (16 * place)) as i16),
            Self::Seven => i32::from((word >> (8 * place)) as u8),
        }
    }

    /// A number of a right operand.
    #[inline(always)]
    fn right(self, word: u32, place: usize) -> i32 {
        match self {
            Self::Twelve => i32::from((word >> (16 * place)) as i16),
            Self::Seven => i32::from((word >> (8 * place)) as i8),
        }
    }

    /// What one step is where there is this largest magnitude, and what numbers are multiplied by to count steps: 0 where there is
    /// nothing to count, or nothing that is a number.
    #[inline(always)]
    pub(crate) fn scale(self, largest: f32) -> [f32; 2] {
        // Below this the second would be infinite.
        let least = self.largest() * f32::MIN_POSITIVE;
        let counts = if largest >= least && largest.is_finite() { self.largest() / largest } else { 0.0 };
        [largest * (1.0 / self.largest()), counts]
    }
}

/// The nearest whole number, ties to even; the number is below 2^15.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> i32 {
    i32::from((value + WHOLE).to_bits() as i16)
}

/// Some rows and columns of `a b`, the columns from a strip of 16 on, and what they start from.
///
/// # Shapes
/// `a` is `[all rows, inner]`, `b` is `[inner, cols]`, `dst` is `[rows, columns]`, a bias is `[columns]`.
///
/// # Panics
/// If the shapes do not fit, the numbers are not of one kind, or the rows or columns do not lie inside the operands.
pub(crate) fn multiply(
    a: &FixedRows,
    rows: Range<usize>,
    (b, columns): (&FixedPanels, Range<usize>),
    dst: &mut [f32],
    start: Start,
) {
    let fixed = b.fixed();
    assert_eq!(a.fixed(), fixed, "numbers of one kind");
    assert_eq!(a.inner(), b.inner(), "a is [rows, inner], b is [inner, cols]");
    assert!(columns.start.is_multiple_of(STRIP), "columns of b, from a strip on");
    if rows.is_empty() {
        return;
    }
    let (kernel, stride, dst_stride) = (Kernel::of_level(), a.stride(), columns.len());
    let most_words = fixed.longest_sum() / fixed.in_word();
    for column in columns.clone().step_by(STRIP) {
        let cols = STRIP.min(columns.end - column);
        let panel = b.panel(column / STRIP);
        let at = column - columns.start;
        for first in (0..b.column_words().max(1)).step_by(most_words) {
            let words = most_words.min(b.column_words() - first);
            let start = if first > 0 { Start::Sums } else { start.of(&(at..at + cols)) };
            kernel.strip(Strip {
                fixed,
                rows: rows.len(),
                cols,
                words,
                left: Operand::Rows(&a.words()[rows.start * stride + first..], stride),
                right: &panel.words[first * STRIP..],
                firsts: panel.firsts,
                row_steps: &a.steps()[rows.clone()],
                col_steps: panel.steps,
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
/// An exact sum over rows needs one step for all of them. So rows are taken in groups of up to 512. Row r of d has the step s[r],
/// and row r of x the step t[r]; their products count steps of `s[r] t[r]`. Within a group both rows are multiplied by
/// `sqrt(s[r] t[r] / max over the group of s t)` and rounded again, after which all products count steps of that maximum:
///
/// ```text
/// d_weight += max(s t) sum over r of round(d[r] root[r])^T round(x[r] root[r])
/// ```
///
/// With the root on both sides, a row that counts for a hundredth keeps a tenth of its numbers on either side. With the whole
/// factor on d alone, a hundredth of them would be left there.
///
/// # Shapes
/// Each d is `[rows, out]`, of which the columns `outputs` are used, each x is `[rows, inputs]`; rows may differ from pair to
/// pair. `d_weight` is `[outputs, inputs]`.
///
/// # Panics
/// If the shapes do not fit, the numbers are not of one kind, or the first output is no multiple of 16.
pub(crate) fn weight_gradient(
    pairs: &[(&FixedRows, &FixedRows)],
    outputs: Range<usize>,
    d_weight: &mut [f32],
) {
    /// Most rows of a sum.
    const ROWS: usize = 512;
    thread_local! {
        /// d^T, and one panel of x at a time.
        static OPERANDS: RefCell<[Vec<u32>; 2]> = RefCell::default();
    }
    assert!(outputs.start.is_multiple_of(STRIP), "outputs from a strip on");
    if outputs.is_empty() {
        return;
    }
    let kernel = Kernel::of_level();
    OPERANDS.with_borrow_mut(|[left, right]| {
        for (d, x) in pairs {
            let (fixed, inputs) = (d.fixed(), x.inner());
            assert_eq!(fixed, x.fixed(), "numbers of one kind");
            assert!(d.rows() == x.rows() && outputs.end <= d.inner(), "d and x have the same rows");
            assert_eq!(d_weight.len(), outputs.len() * inputs, "d_weight is [outputs, inputs]");
            for first in (0..d.rows()).step_by(ROWS) {
                let rows = first..(first + ROWS).min(d.rows());
                let words = rows.len().div_ceil(fixed.in_word());
                let strip_words = words * STRIP;
                let steps: Vec<f32> = d.steps()[rows.clone()]
                    .iter()
                    .zip(&x.steps()[rows.clone()])
                    .map(|(d, x)| d * x)
                    .collect();
                let step = largest_magnitude(&steps);
                let roots = roots(&steps, step);
                left.resize(outputs.len().div_ceil(STRIP) * strip_words, 0);
                for (strip, turned) in (outputs.start / STRIP..).zip(left.chunks_exact_mut(strip_words)) {
                    kernel.turn(d.turn(&rows, strip, (&roots, Side::Left), turned));
                }
                right.resize(strip_words, 0);
                let row_steps = vec![step; outputs.len()];
                for input in (0..inputs).step_by(STRIP) {
                    kernel.turn(x.turn(&rows, input / STRIP, (&roots, Side::Right), right));
                    kernel.strip(Strip {
                        fixed,
                        rows: outputs.len(),
                        cols: STRIP.min(inputs - input),
                        words,
                        left: Operand::Turned(left),
                        right,
                        firsts: &kernel.firsts(fixed, right),
                        row_steps: &row_steps,
                        col_steps: &[1.0; STRIP],
                        start: Start::Sums,
                        dst: &mut d_weight[input..],
                        dst_stride: inputs,
                    });
                }
            }
        }
    });
}

/// `sqrt(step / largest)` of each step, in 2^-15ths, so that it fits 16 bits: 1 becomes 2^15 - 1.
fn roots(steps: &[f32], largest: f32) -> Vec<i16> {
    let share = if largest.is_finite() && largest > 0.0 { 1.0 / largest } else { 0.0 };
    // A conversion to i16 saturates, and makes 0 of NaN.
    steps.iter().map(|step| ((step * share).sqrt() * 32_768.0).round_ties_even() as i16).collect()
}

#[cfg(test)]
mod tests;
