//! A product with a panel of 16-bit whole numbers, how its operands are turned for sums over rows, and the portable kernel.

use super::{round, scale};
use crate::bf16::Start;
#[cfg(target_arch = "x86_64")]
use crate::level::{Level, level};
use crate::math::largest_magnitude;

/// Columns of a panel: two registers of sums.
pub(crate) const STRIP: usize = 16;

/// What multiplies by a panel, turns and rounds operands.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub strip: fn(Strip),
    pub turn: fn(Turn),
    pub round: fn(Round),
}

impl Kernel {
    const PORTABLE: Self = Self {
        strip: |strip| strip.run_portable(),
        turn: |turn| turn.run_portable(),
        round: |round| round.run_portable(),
    };

    /// Those of the level in use.
    pub fn of_level() -> Self {
        #[cfg(target_arch = "x86_64")]
        if level() >= Level::Avx2 {
            use crate::x86_64::avx2_int16;
            return Self { strip: avx2_int16::strip, turn: avx2_int16::turn, round: avx2_int16::round };
        }
        Self::PORTABLE
    }
}

/// A product with a panel of 16 columns: 32-bit sums times the steps of their row and column.
pub(crate) struct Strip<'a> {
    pub rows: usize,
    pub cols: usize,
    /// Pairs of the inner dimension that are summed.
    pub pairs: usize,
    /// Words of two numbers of a row.
    pub left: Left<'a>,
    /// `[pairs, 16]`
    pub right: &'a [u32],
    /// `[rows]`
    pub row_steps: &'a [f32],
    pub col_steps: &'a [f32; STRIP],
    pub start: Start<'a>,
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
}

/// Where a left operand has its words.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Side by side, rows so many words apart.
    Rows(&'a [u32], usize),
    /// As [`Turn`] leaves them, strips of 16 rows behind each other: words of a row 16 apart.
    Turned(&'a [u32]),
}

impl<'a> Left<'a> {
    /// Where row r starts, and the words from one of its words to the next.
    #[inline(always)]
    pub fn place(self, r: usize, pairs: usize) -> (&'a [u32], usize, usize) {
        match self {
            Self::Rows(words, stride) => (words, r * stride, 1),
            Self::Turned(words) => (words, r / STRIP * pairs * STRIP + r % STRIP, STRIP),
        }
    }

    /// The first word of row r.
    ///
    /// # Safety
    /// There is such a row.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn row(self, r: usize, pairs: usize) -> *const u32 {
        let (words, first, _) = self.place(r, pairs);
        // SAFETY: the caller's promise.
        unsafe { words.as_ptr().add(first) }
    }
}

impl Strip<'_> {
    /// # Panics
    /// If something lies outside its slice.
    #[inline(always)]
    pub fn check(&self) {
        let Self { rows, cols, pairs, .. } = *self;
        assert!(rows > 0 && (1..=STRIP).contains(&cols));
        assert!(match self.left {
            Left::Rows(words, stride) => words.len() >= (rows - 1) * stride + pairs,
            Left::Turned(words) => words.len() >= rows.div_ceil(STRIP) * pairs * STRIP,
        });
        assert!(self.right.len() >= pairs * STRIP && self.row_steps.len() == rows);
        assert!(self.dst.len() >= (rows - 1) * self.dst_stride + cols);
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= cols);
        }
    }

    fn run_portable(mut self) {
        self.check();
        let numbers = |word: u32| [word as i16, (word >> 16) as i16].map(i32::from);
        for r in 0..self.rows {
            let mut sums = [0i32; STRIP];
            let (left, first, step) = self.left.place(r, self.pairs);
            let left = left[first..].iter().step_by(step);
            for (words, left) in self.right.chunks_exact(STRIP).take(self.pairs).zip(left) {
                let [low, high] = numbers(*left);
                for (sum, word) in sums.iter_mut().zip(words) {
                    let [right_low, right_high] = numbers(*word);
                    *sum = sum.wrapping_add(low * right_low).wrapping_add(high * right_high);
                }
            }
            self.finish(r, &sums);
        }
    }

    /// Scales and stores the sums of a row.
    #[inline(always)]
    pub fn finish(&mut self, r: usize, sums: &[i32; STRIP]) {
        let dst = &mut self.dst[r * self.dst_stride..][..self.cols];
        for (c, (value, sum)) in dst.iter_mut().zip(sums).enumerate() {
            let start = match self.start {
                Start::Zeros => 0.0,
                Start::Bias(bias) => bias[c],
                Start::Sums => *value,
            };
            *value = (*sum as f32 * self.col_steps[c]).mul_add(self.row_steps[r], start);
        }
    }
}

/// A strip of 16 columns of some rows, whose numbers become those of pairs of rows, as shares of a common step.
pub(crate) struct Turn<'a> {
    /// From the first word of the strip on.
    pub rows: &'a [u32],
    /// Words from row to row.
    pub stride: usize,
    /// The share of each row, in 2^-15ths.
    pub shares: &'a [i16],
    /// `[pairs, 16]`: a number of the first row of a pair in the low half.
    pub turned: &'a mut [u32],
}

impl Turn<'_> {
    /// # Panics
    /// If something lies outside its slice.
    #[inline(always)]
    pub fn check(&self) {
        let rows = self.shares.len();
        assert!(rows > 0 && self.rows.len() >= (rows - 1) * self.stride + STRIP / 2);
        assert!(self.turned.len() >= rows.div_ceil(2) * STRIP);
    }

    fn run_portable(self) {
        self.check();
        for (pair, shares) in self.shares.chunks(2).enumerate() {
            let words = &mut self.turned[pair * STRIP..][..STRIP];
            words.fill(0);
            for (i, share) in shares.iter().enumerate() {
                let row = &self.rows[(2 * pair + i) * self.stride..];
                for (c, word) in words.iter_mut().enumerate() {
                    let number = (row[c / 2] >> (16 * (c % 2))) as i16;
                    let scaled = (((i32::from(number) * i32::from(*share)) >> 14) + 1) >> 1;
                    *word |= u32::from((scaled as i16).cast_unsigned()) << (16 * i);
                }
            }
        }
    }
}

/// Rows that become counts of a 2047th of their largest magnitudes.
pub(crate) struct Round<'a> {
    /// `[rows, width]`
    pub values: &'a [f32],
    /// Not none.
    pub width: usize,
    /// `[rows, width up to a multiple of 16]`; what is behind the width stays as it is.
    pub numbers: &'a mut [i16],
    /// `[rows]`
    pub steps: &'a mut [f32],
}

impl Round<'_> {
    fn run_portable(self) {
        let numbers = self.numbers.chunks_exact_mut(self.width.next_multiple_of(STRIP));
        for ((values, numbers), step) in self.values.chunks_exact(self.width).zip(numbers).zip(self.steps) {
            let per_step;
            [*step, per_step] = scale(largest_magnitude(values));
            for (number, value) in numbers.iter_mut().zip(values) {
                *number = round(value * per_step);
            }
        }
    }
}
