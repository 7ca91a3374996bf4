//! Operands of products: the right one is packed once and used many times, the left one is plain or rounded.

use crate::Format;
use crate::bf16::{Bf16Panels, Bf16Rows};
use crate::fixed::{FixedPanels, FixedRows};
use crate::layout::Part;
use crate::plain::F32Panels;
use crate::quantised::{QuantisedPanels, QuantisedRows, WeightBits};

/// A matrix `[inner, cols]` of any format, laid out as the right operand of products.
#[derive(Clone, Debug)]
pub struct Right(pub(crate) Panels);

/// The layout of each format.
#[derive(Clone, Debug)]
pub(crate) enum Panels {
    F32(F32Panels),
    Bf16(Bf16Panels),
    Fixed(FixedPanels),
    Quantised(QuantisedPanels),
}

impl Right {
    /// A matrix of no numbers, `[0, 0]`, that [`Self::pack`] gives some.
    ///
    /// # Panics
    /// For [`Format::Quantised`], whose numbers are chosen before they are packed: see [`Self::quantised`].
    pub fn new(format: Format) -> Self {
        Self(match format {
            Format::F32 => Panels::F32(F32Panels::default()),
            Format::Bf16 => Panels::Bf16(Bf16Panels::default()),
            Format::Fixed(fixed) => Panels::Fixed(FixedPanels::new(fixed)),
            Format::Quantised => {
                panic!("quantised numbers are chosen before they are packed, by Right::quantised")
            }
        })
    }

    /// A matrix of integers: `b[k, c] = scales[c, k / group] q[k, c]`.
    ///
    /// Left operands are rounded to multiples of `step`; without a step, to multiples of a 127th of the largest magnitude of each
    /// row.
    ///
    /// # Shapes
    /// `transpose` is q transposed, `[cols, inner]`; `scales` is `[cols, groups]`, one for each `group` numbers of the inner
    /// dimension.
    ///
    /// # Panics
    /// If a slice has another length, or there are several groups of no multiple of 8 numbers.
    pub fn quantised(
        bits: WeightBits,
        [inner, cols]: [usize; 2],
        group: usize,
        transpose: &[i8],
        scales: &[f32],
        step: Option<f32>,
    ) -> Self {
        let shape = [inner, cols];
        Self(Panels::Quantised(QuantisedPanels::pack_transposed(bits, shape, group, transpose, scales, step)))
    }

    /// Packs a row-major matrix, rounded to the format.
    ///
    /// # Shapes
    /// `matrix` is `[inner, cols]`.
    ///
    /// # Panics
    /// If the slice has another length, the matrix is quantised, or it has 7-bit numbers and more than 2^18 rows.
    pub fn pack(&mut self, shape: [usize; 2], matrix: &[f32]) {
        match &mut self.0 {
            Panels::F32(panels) => panels.pack(shape, matrix),
            Panels::Bf16(panels) => panels.pack(shape, matrix),
            Panels::Fixed(panels) => panels.pack(shape, matrix),
            Panels::Quantised(_) => panic!("a quantised matrix keeps the numbers that it was made of"),
        }
    }

    /// Packs the transpose of a row-major matrix, rounded to the format.
    ///
    /// # Shapes
    /// The operand becomes `[inner, cols]`; `transpose` is `[cols, inner]`.
    ///
    /// # Panics
    /// If the slice has another length, the matrix is quantised, or it has 7-bit numbers and more than 2^18 rows.
    pub fn pack_transposed(&mut self, shape: [usize; 2], transpose: &[f32]) {
        match &mut self.0 {
            Panels::F32(panels) => panels.pack_transposed(shape, transpose),
            Panels::Bf16(panels) => panels.pack_transposed(shape, transpose),
            Panels::Fixed(panels) => panels.pack_transposed(shape, transpose),
            Panels::Quantised(_) => panic!("a quantised matrix keeps the numbers that it was made of"),
        }
    }

    /// Number format of the right operand.
    pub fn format(&self) -> Format {
        match &self.0 {
            Panels::F32(_) => Format::F32,
            Panels::Bf16(_) => Format::Bf16,
            Panels::Fixed(panels) => Format::Fixed(panels.fixed()),
            Panels::Quantised(_) => Format::Quantised,
        }
    }

    /// Shape of the right operand, `[inner, cols]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.0 {
            Panels::F32(panels) => [panels.inner(), panels.cols()],
            Panels::Bf16(panels) => [panels.inner(), panels.cols()],
            Panels::Fixed(panels) => [panels.inner(), panels.cols()],
            Panels::Quantised(panels) => [panels.inner(), panels.cols()],
        }
    }

    /// Whether a left operand can be rounded in parts of some columns for this right operand. It cannot if the largest
    /// number of a row says how the row is rounded.
    pub fn rounds_in_parts(&self) -> bool {
        match &self.0 {
            Panels::F32(_) | Panels::Bf16(_) => true,
            Panels::Fixed(_) => false,
            Panels::Quantised(panels) => panels.step().is_some(),
        }
    }
}

/// A matrix `[rows, inner]`, rounded to a format and laid out as the left operand of products and, but for quantised ones, as both
/// operands of a [`weight_gradient`](crate::weight_gradient).
#[derive(Clone, Debug)]
pub struct Rounded(pub(crate) Kept);

/// The layout of each format.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Bf16(Bf16Rows),
    Fixed(FixedRows),
    Quantised(QuantisedRows),
}

impl Rounded {
    /// A matrix without rows, which [`Self::resize`] or [`Self::resize_for`] gives some.
    ///
    /// # Panics
    /// For [`Format::F32`], which rounds nothing.
    pub fn new(format: Format) -> Self {
        Self(match format {
            Format::F32 => panic!("f32 numbers are not rounded: they are multiplied as Left::Plain"),
            Format::Bf16 => Kept::Bf16(Bf16Rows::default()),
            Format::Fixed(fixed) => Kept::Fixed(FixedRows::new(fixed)),
            Format::Quantised => Kept::Quantised(QuantisedRows::default()),
        })
    }

    /// A row-major matrix, rounded.
    ///
    /// # Shapes
    /// `matrix` is `[rows, inner]`.
    ///
    /// # Panics
    /// If the slice has another length, or the format is [`Format::F32`] or [`Format::Quantised`].
    pub fn of(format: Format, shape: [usize; 2], matrix: &[f32]) -> Self {
        let mut rounded = Self::new(format);
        match &mut rounded.0 {
            Kept::Bf16(rows) => rows.pack(shape, matrix),
            Kept::Fixed(rows) => rows.pack(shape, matrix),
            Kept::Quantised(_) => panic!("quantised rows are rounded for a right operand"),
        }
        rounded
    }

    /// Rounds a whole matrix for a right operand, `[rows, inner]`.
    pub(crate) fn pack_for(&mut self, rows: usize, right: &Right, matrix: &[f32]) {
        let shape @ [_, inner] = [rows, right.shape()[0]];
        match &mut self.0 {
            Kept::Bf16(rows) => rows.pack(shape, matrix),
            Kept::Fixed(rows) => rows.pack(shape, matrix),
            Kept::Quantised(_) => {
                self.resize_for(rows, right);
                self.store(&Part { rows: 0..rows, columns: 0..inner }, matrix);
            }
        }
    }

    /// Changes the shape to `[rows, inner]`. If the shape is another than before, all numbers are zero.
    ///
    /// # Panics
    /// If it is quantised, and so rounded for a right operand: see [`Self::resize_for`].
    pub fn resize(&mut self, shape: [usize; 2]) {
        match &mut self.0 {
            Kept::Bf16(rows) => rows.resize(shape),
            Kept::Fixed(rows) => rows.resize(shape),
            Kept::Quantised(_) => {
                panic!("quantised rows are rounded for a right operand, by Rounded::resize_for")
            }
        }
    }

    /// Takes the shape and the rounding of a left operand of `rows` rows for products with `right`. If the shape is
    /// another than before, all numbers are zero.
    ///
    /// # Panics
    /// If it is quantised and `right` is not.
    pub fn resize_for(&mut self, rows: usize, right: &Right) {
        match (&mut self.0, &right.0) {
            (Kept::Quantised(quantised), Panels::Quantised(panels)) => quantised.resize(rows, panels),
            (Kept::Quantised(_), _) => {
                panic!(
                    "quantised rows are rounded for a quantised right operand, not for {}",
                    right.format().name()
                )
            }
            _ => self.resize([rows, right.shape()[0]]),
        }
    }

    /// Rounds and stores a part, `[rows, columns]`. The parts of a row of quantised numbers come from left to right.
    ///
    /// A row that holds a number that is not finite stands for numbers that are not finite, unless it is quantised with a fixed
    /// step.
    ///
    /// # Panics
    /// If the matrix has no such part, or the slice has another length; if a part of fixed-point numbers is not one of whole rows;
    /// if a part of bfloat16 numbers does not start and end with multiples of 16 rows and 32 columns, or with the matrix; if one of
    /// quantised numbers does not start with a multiple of 64 columns, or does not have whole rows though no step is fixed.
    pub fn store(&mut self, part: &Part, values: &[f32]) {
        match &mut self.0 {
            Kept::Bf16(rows) => rows.store(part, values),
            Kept::Fixed(rows) => {
                assert_eq!(part.columns, 0..rows.inner(), "whole rows, whose largest number counts");
                rows.store(part.rows.clone(), values);
            }
            Kept::Quantised(rows) => rows.store(part, values),
        }
    }

    /// Reads a part, `[rows, columns]`.
    ///
    /// # Panics
    /// If the matrix has no such part, or the slice has another length; if a part of fixed-point numbers is not one of whole rows;
    /// if a part of bfloat16 numbers does not start and end with multiples of 16 rows and 32 columns, or with the matrix; if the
    /// numbers are quantised.
    pub fn load(&self, part: &Part, values: &mut [f32]) {
        match &self.0 {
            Kept::Bf16(rows) => rows.load(part, values),
            Kept::Fixed(rows) => {
                assert_eq!(part.columns, 0..rows.inner(), "whole rows");
                rows.load(part.rows.clone(), values);
            }
            Kept::Quantised(_) => panic!("what quantised weights are multiplied by is not read back"),
        }
    }

    /// Number format that the left operand is rounded to.
    pub fn format(&self) -> Format {
        match &self.0 {
            Kept::Bf16(_) => Format::Bf16,
            Kept::Fixed(rows) => Format::Fixed(rows.fixed()),
            Kept::Quantised(_) => Format::Quantised,
        }
    }

    /// Shape of the left operand, `[rows, inner]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.0 {
            Kept::Bf16(rows) => [rows.rows(), rows.inner()],
            Kept::Fixed(rows) => [rows.rows(), rows.inner()],
            Kept::Quantised(rows) => [rows.rows(), rows.inner()],
        }
    }
}

/// The left operand of a product, `[rows, inner]`.
#[derive(Clone, Copy, Debug)]
pub enum Left<'a> {
    /// Row-major f32 numbers: a product rounds them to the format of its right operand, whatever that is.
    Plain {
        /// Rows.
        rows: usize,
        /// `[rows, inner]`
        values: &'a [f32],
    },
    /// Numbers that were rounded once, for right operands of the same format.
    Rounded(&'a Rounded),
}

impl Left<'_> {
    /// Number of rows.
    pub fn rows(self) -> usize {
        match self {
            Self::Plain { rows, .. } => rows,
            Self::Rounded(rounded) => rounded.shape()[0],
        }
    }

    /// Number format of the left operand.
    pub fn format(self) -> Format {
        match self {
            Self::Plain { .. } => Format::F32,
            Self::Rounded(rounded) => rounded.format(),
        }
    }
}
