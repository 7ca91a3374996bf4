//! Number formats of operands.

use crate::fixed::{Fixed, FixedRows};
use crate::layout::{MOST_ROWS, some_panels};
use crate::level::{Level, level};

/// Number format of the operands of matrix products; sums are always f32, or exact and then rounded to f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// f32: 24 bits of mantissa.
    F32,
    /// bfloat16: 8 bits of mantissa.
    Bf16,
    /// Fixed-point numbers, in steps for each row of a left operand and each column of a right one.
    Fixed(Fixed),
    /// Weights of 8 or 4 bits that were chosen once, times inputs of 8 bits: for inference only.
    Quantised,
}

impl Format {
    /// The format that the level in use multiplies fastest: bfloat16 where the CPU has products of them, fixed-point numbers of 12
    /// bits where it has AVX2 and nothing better, else f32.
    pub fn fastest() -> Self {
        match level() {
            Level::Amx | Level::Avx512Bf16 => Self::Bf16,
            Level::Avx2 => Self::Fixed(Fixed::Twelve),
            _ => Self::F32,
        }
    }

    /// The format of a product with so many outputs: f32 for few, where rounding and packing would cost more than they save.
    pub fn for_outputs(self, outputs: usize) -> Self {
        const FEW: usize = 16;
        if outputs < FEW { Self::F32 } else { self }
    }

    /// The name by which settings and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Fixed(Fixed::Twelve) => "fixed12",
            Self::Fixed(Fixed::Seven) => "fixed7",
            Self::Quantised => "quantised",
        }
    }

    /// Memory of a row of a left operand, counted in f32 numbers.
    pub fn values_per_row(self, inner: usize) -> usize {
        match self {
            Self::F32 => inner,
            Self::Bf16 => inner.next_multiple_of(32) / 2,
            Self::Fixed(fixed) => FixedRows::values_per_row(fixed, inner),
            Self::Quantised => inner.next_multiple_of(64) / 4,
        }
    }

    /// Numbers of the buffer that [`multiply_in_parts`](crate::multiply_in_parts) uses for `[rows, width]` products of left
    /// operands in this format.
    pub fn part_len(self, rows: usize, width: usize) -> usize {
        match self {
            Self::F32 | Self::Fixed(_) => rows.min(MOST_ROWS) * width,
            Self::Bf16 | Self::Quantised => some_panels(rows),
        }
    }
}
