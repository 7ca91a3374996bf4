//! A product with a panel of fixed-point numbers, how its operands are turned for sums over rows, and the portable kernel.

use super::{Fixed, nearest};
use crate::layout::{Start, holds};
#[cfg(target_arch = "x86_64")]
use crate::level::Avx2;
use crate::math::largest_magnitude;
#[cfg(target_arch = "x86_64")]
use crate::x86_64::avx2_fixed;

/// Columns of a panel: two registers of sums.
pub(crate) const STRIP: usize = 16;

/// What multiplies by a panel, turns and rounds operands, with the proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub(super) enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Kernel {
    /// The kernel of the level in use.
    pub fn of_level() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Avx2::in_use() {
            return Self::Avx2(cpu);
        }
        Self::Portable
    }

    /// Multiplies by a panel.
    pub fn strip(self, strip: Strip) {
        match self {
            Self::Portable => strip.run_portable(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) => avx2_fixed::multiply_strip(cpu, strip),
        }
    }

    /// Turns a strip.
    pub fn turn(self, turn: Turn) {
        match self {
            Self::Portable => turn.run_portable(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) => avx2_fixed::turn_strip(cpu, turn),
        }
    }

    /// Rounds rows.
    pub fn round(self, rows: Unrounded) {
        match self {
            Self::Portable => rows.run_portable(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(cpu) => avx2_fixed::round(cpu, rows),
        }
    }

    /// Numbers that the sums of a panel's columns start from: they take out what is added to each number on the left.
    pub fn firsts(self, fixed: Fixed, panel: &[u32]) -> [i32; STRIP] {
        match (fixed, self) {
            (Fixed::Twelve, _) => [0; STRIP],
            (Fixed::Seven, Self::Portable) => byte_firsts_portable(panel),
            #[cfg(target_arch = "x86_64")]
            (Fixed::Seven, Self::Avx2(cpu)) => avx2_fixed::byte_firsts(cpu, panel),
        }
    }
}

/// A product with a panel of 16 columns: 32-bit sums times the steps of their row and column.
pub(crate) struct Strip<'a> {
    pub fixed: Fixed,
    pub rows: usize,
    pub cols: usize,
    /// Words of the inner dimension that are summed.
    pub words: usize,
    /// Words of a row.
    pub left: Operand<'a>,
    /// `[words, 16]`
    pub right: &'a [u32],
    /// Numbers that the sums start from.
    pub firsts: &'a [i32; STRIP],
    /// `[rows]`
    pub row_steps: &'a [f32],
    pub col_steps: &'a [f32; STRIP],
    pub start: Start<'a>,
    pub dst: &'a mut [f32],
    pub dst_stride: usize,
}

/// Where a left operand has its words.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// Side by side, rows so many words apart.
    Rows(&'a [u32], usize),
    /// Words as [`Turn`] writes them: strips of 16 rows behind each other, neighbouring words of a row 16 apart.
    Turned(&'a [u32]),
}

impl<'a> Operand<'a> {
    /// Start of row r, and the number of words between two neighbouring words of the row.
    #[inline(always)]
    pub fn place(self, r: usize, row_words: usize) -> (&'a [u32], usize, usize) {
        match self {
            Self::Rows(words, stride) => (words, r * stride, 1),
            Self::Turned(words) => (words, r / STRIP * row_words * STRIP + r % STRIP, STRIP),
        }
    }

    /// The first word of row r.
    ///
    /// # Safety
    /// There is such a row.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub unsafe fn row(self, r: usize, row_words: usize) -> *const u32 {
        let (words, first, _) = self.place(r, row_words);
        // SAFETY: the caller's promise.
        unsafe { words.as_ptr().add(first) }
    }
}

impl Strip<'_> {
    /// Checks the bounds that kernels rely on when they read and write by pointers.
    ///
    /// # Panics
    /// If something lies outside its slice.
    #[inline(always)]
    pub fn check(&self) {
        let Self { rows, cols, words, .. } = *self;
        assert!(rows > 0 && (1..=STRIP).contains(&cols));
        assert!(self.right.len() / STRIP >= words && self.row_steps.len() == rows);
        assert!(match self.left {
            Operand::Rows(left, stride) => holds(left.len(), rows, stride, words),
            Operand::Turned(left) => holds(left.len(), rows.div_ceil(STRIP), words * STRIP, words * STRIP),
        });
        assert!(holds(self.dst.len(), rows, self.dst_stride, cols));
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= cols);
        }
    }

    fn run_portable(mut self) {
        self.check();
        let fixed = self.fixed;
        for r in 0..self.rows {
            let mut sums = *self.firsts;
            let (left, first, step) = self.left.place(r, self.words);
            let left = left[first..].iter().step_by(step);
            for (words, left) in self.right.chunks_exact(STRIP).take(self.words).zip(left) {
                for place in 0..fixed.in_word() {
                    let left = fixed.left(*left, place);
                    for (sum, word) in sums.iter_mut().zip(words) {
                        *sum = sum.wrapping_add(left * fixed.right(*word, place));
                    }
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

fn byte_firsts_portable(panel: &[u32]) -> [i32; STRIP] {
    let (fixed, mut firsts) = (Fixed::Seven, [0; STRIP]);
    for words in panel.chunks_exact(STRIP) {
        for (first, word) in firsts.iter_mut().zip(words) {
            *first -= fixed.zero() * (0..fixed.in_word()).map(|place| fixed.right(*word, place)).sum::<i32>();
        }
    }
    firsts
}

/// A side of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Operands of turning a strip of 16 columns of some rows: words that hold numbers of one row become words that hold
/// numbers of one column in several rows.
pub(crate) struct Turn<'a> {
    pub fixed: Fixed,
    pub side: Side,
    /// From the first word of the strip on.
    pub words: &'a [u32],
    /// Words from row to row.
    pub stride: usize,
    /// The factor of each row's numbers, in 2^-15ths.
    pub shares: &'a [i16],
    /// Result, `[words, 16]`. The number of a word's first row lies in its lowest bits. For the right operand missing
    /// rows are zeros.
    pub turned: &'a mut [u32],
}

impl Turn<'_> {
    /// The number that is added to each number of this side.
    #[inline(always)]
    pub fn zero(&self) -> i32 {
        if self.side == Side::Left { self.fixed.zero() } else { 0 }
    }

    /// Checks the bounds that kernels rely on when they read and write by pointers.
    ///
    /// # Panics
    /// If something lies outside its slice.
    #[inline(always)]
    pub fn check(&self) {
        let rows = self.shares.len();
        assert!(rows > 0 && holds(self.words.len(), rows, self.stride, STRIP / self.fixed.in_word()));
        assert!(self.turned.len() >= rows.div_ceil(self.fixed.in_word()) * STRIP);
    }

    fn run_portable(self) {
        self.check();
        let (fixed, zero, in_word) = (self.fixed, self.zero(), self.fixed.in_word());
        self.turned.fill(0);
        for (r, share) in self.shares.iter().enumerate() {
            let row = &self.words[r * self.stride..];
            for (c, word) in self.turned[r / in_word * STRIP..][..STRIP].iter_mut().enumerate() {
                let number = fixed.left(row[c / in_word], c % in_word) - fixed.zero();
                let scaled = (((number * i32::from(*share)) >> 14) + 1) >> 1;
                *word |= fixed.in_place(scaled + zero, r % in_word);
            }
        }
    }
}

/// Rows that become counts of steps of their own.
pub(crate) struct Unrounded<'a> {
    pub fixed: Fixed,
    /// `[rows, width]`
    pub values: &'a [f32],
    /// Not none.
    pub width: usize,
    /// `[rows, width up to a multiple of 16]` numbers; what is behind the width may be anything.
    pub words: &'a mut [u32],
    /// `[rows]`
    pub steps: &'a mut [f32],
}

impl Unrounded<'_> {
    fn run_portable(self) {
        let Self { fixed, width, .. } = self;
        let words = self.words.chunks_exact_mut(fixed.row_words(width));
        for ((values, words), step) in self.values.chunks_exact(width).zip(words).zip(self.steps) {
            let per_step;
            [*step, per_step] = fixed.scale(largest_magnitude(values));
            for (word, values) in words.iter_mut().zip(values.chunks(fixed.in_word())) {
                *word = 0;
                for (place, value) in values.iter().enumerate() {
                    *word |= fixed.in_place(nearest(value * per_step) + fixed.zero(), place);
                }
            }
        }
    }
}
