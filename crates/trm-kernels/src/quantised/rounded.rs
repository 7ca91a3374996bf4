//! Inputs rounded to 8 bits.

use super::kernel::Kernel;
use super::{GROUP_MULTIPLE, QuantisedPanels};
use crate::layout::{Part, TILE, Words};
#[cfg(target_arch = "x86_64")]
use crate::level::{Avx2, Avx512};
use crate::math::{WHOLE, largest_magnitude};
use crate::vectorize;
use std::ops::Range;

/// Numbers in a word.
const BYTES: usize = 4;
/// Numbers that are rounded at once: a row of a tile.
pub(crate) const RUN: usize = TILE * BYTES;
/// Largest magnitude of a rounded input.
pub(crate) const LARGEST_INPUT: f32 = 127.0;

/// The left operand of products with a [`QuantisedPanels`]: a matrix `[rows, inner]` rounded to whole numbers of 8 bits.
#[derive(Clone, Debug)]
pub(crate) struct QuantisedRows {
    shape: Shape,
    /// What numbers are rounded to multiples of, if that is fixed.
    step: Option<f32>,
    /// What reads it.
    pub(super) kernel: Kernel,
    /// p, `[rows, row_len]`, unless they are in strips
    pub(super) values: Vec<i8>,
    /// p in strips of 16 rows, up to an even number of them: words of four bytes, where bfloat16 has pairs.
    pub(super) strips: Words,
    /// Sum of p over each group, `[rows, groups]`.
    pub(super) sums: Vec<i32>,
    /// Sums of p over each group in sixteen parts, while parts of the rows come, `[rows, groups]`.
    lanes: Vec<[i32; TILE]>,
    /// `[rows]`
    pub(super) steps: Vec<f32>,
    /// `1 / steps`, or 0
    per_steps: Vec<f32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    rows: usize,
    inner: usize,
    /// Numbers of a row, with zeros up to whole groups.
    row_len: usize,
    group_len: usize,
    in_strips: bool,
}

impl Default for QuantisedRows {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            step: None,
            kernel: Kernel::Portable,
            values: Vec::new(),
            strips: Words::default(),
            sums: Vec::new(),
            lanes: Vec::new(),
            steps: Vec::new(),
            per_steps: Vec::new(),
        }
    }
}

impl QuantisedRows {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Length of a row.
    pub fn inner(&self) -> usize {
        self.shape.inner
    }

    /// Takes the shape that products of so many rows with b have.
    pub fn resize(&mut self, rows: usize, b: &QuantisedPanels) {
        (self.kernel, self.step) = (Kernel::of(rows, b), b.step());
        let (inner, row_len, group_len) = (b.inner, b.row_len(), b.group_words * b.bits.in_word());
        let shape = Shape { rows, inner, row_len, group_len, in_strips: self.kernel.reads_strips() };
        if self.shape == shape {
            return;
        }
        self.shape = shape;
        let (strip_rows, rows_len) =
            if shape.in_strips { (rows.next_multiple_of(2 * TILE), 0) } else { (0, rows * row_len) };
        self.strips.clear();
        self.strips.resize(strip_rows * row_len / BYTES, 0);
        self.values.clear();
        self.values.resize(rows_len, 0);
        let sums = rows * (row_len / group_len.max(1));
        self.sums.resize(sums, 0);
        self.lanes.resize(sums, [0; TILE]);
        self.steps.resize(rows, 0.0);
        self.per_steps.resize(rows, 0.0);
    }

    /// Whether it has the shape that products with b have.
    pub(super) fn is_for(&self, b: &QuantisedPanels) -> bool {
        let Shape { inner, row_len, group_len, .. } = self.shape;
        [inner, row_len, group_len] == [b.inner, b.row_len(), b.group_words * b.bits.in_word()]
    }

    /// Rounds a part, `[rows, columns]`, to multiples of the step that the right operand fixes, or of a 127th of the largest
    /// magnitude of each row. The parts of a row come from left to right.
    ///
    /// A row that holds a number that is not finite gives numbers that are not finite, unless the step is fixed.
    ///
    /// # Panics
    /// If there is no such part, the slice has another length, the part does not start with a multiple of 64 columns, or it does
    /// not have whole rows though no step is fixed.
    pub fn store(&mut self, part: &Part, values: &[f32]) {
        let step = self.step;
        let Part { rows, columns } = part.clone();
        let Shape { inner, .. } = self.shape;
        assert!(rows.end <= self.shape.rows && columns.end <= inner, "rows and columns of the matrix");
        assert_eq!(values.len(), rows.len() * columns.len(), "values are [rows, columns]");
        assert!(columns.start.is_multiple_of(RUN), "columns from a whole run on");
        assert!(step.is_some() || columns == (0..inner), "whole rows, whose largest number counts");
        let groups = self.lanes.len() / self.shape.rows.max(1);
        let sums = rows.start * groups..rows.end * groups;
        if columns.start == 0 {
            self.choose_steps(&rows, values, step);
            self.lanes[sums.clone()].fill([0; TILE]);
        }
        for (run, column) in columns.clone().step_by(RUN).enumerate() {
            let width = RUN.min(columns.end - column);
            let numbers = values.chunks_exact(columns.len()).map(|row| &row[run * RUN..][..width]);
            self.round_run_at_level(rows.clone(), column, numbers);
        }
        if columns.end == inner {
            for (sum, lanes) in self.sums[sums.clone()].iter_mut().zip(&self.lanes[sums]) {
                *sum = lanes.iter().sum();
            }
        }
    }

    fn choose_steps(&mut self, rows: &Range<usize>, values: &[f32], step: Option<f32>) {
        let row_len = values.len() / rows.len().max(1);
        vectorize(
            #[inline(always)]
            || {
                for (r, row) in rows.clone().zip(values.chunks_exact(row_len.max(1))) {
                    let step = step.unwrap_or_else(
                        #[inline(always)]
                        || largest_magnitude(row) / LARGEST_INPUT,
                    );
                    (self.steps[r], self.per_steps[r]) = (step, per_step(step));
                }
            },
        );
    }

    fn round_run_at_level<'a>(
        &mut self,
        rows: Range<usize>,
        column: usize,
        numbers: impl Iterator<Item = &'a [f32]>,
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            use crate::x86_64::bytes::{round_run_avx2, round_run_avx512};
            if let Some(cpu) = Avx512::in_use() {
                return round_run_avx512(cpu, self, rows, column, numbers);
            }
            if let Some(cpu) = Avx2::in_use() {
                return round_run_avx2(cpu, self, rows, column, numbers);
            }
        }
        self.round_run(rows, column, numbers, round_64);
    }

    /// Rounds up to 64 numbers of some rows from a column on, by what rounds as [`round_64`] does.
    #[inline(always)]
    pub(crate) fn round_run<'a>(
        &mut self,
        rows: Range<usize>,
        column: usize,
        numbers: impl Iterator<Item = &'a [f32]>,
        round: impl Fn(&[f32; RUN], f32, &mut [i8; RUN], &mut [i32; TILE]),
    ) {
        let Shape { row_len, group_len, in_strips, .. } = self.shape;
        let groups = row_len / group_len;
        let is_in_one_group = groups == 1 || group_len.is_multiple_of(RUN);
        // The bytes of a tile are those of its words in the memory of an x86.
        let bytes =
            if in_strips { bytemuck::cast_slice_mut(&mut self.strips[..]) } else { &mut self.values[..] };
        let place = |r: usize| match in_strips {
            true => r / TILE * TILE * row_len + column * TILE + r % TILE * RUN,
            false => r * row_len + column,
        };
        let lanes = self.lanes[rows.start * groups..].chunks_exact_mut(groups);
        let rows = rows.clone().zip(&self.per_steps[rows]).zip(lanes);
        for (((r, per_step), lanes), numbers) in rows.zip(numbers) {
            let rounded = &mut bytes[place(r)..][..numbers.len()];
            if is_in_one_group {
                let lanes = &mut lanes[column / group_len];
                match (numbers.first_chunk(), rounded.first_chunk_mut()) {
                    (Some(numbers), Some(rounded)) => round(numbers, *per_step, rounded, lanes),
                    _ => round_few(numbers, *per_step, rounded, lanes, &round),
                }
                continue;
            }
            round_few(numbers, *per_step, rounded, &mut [0; TILE], &round);
            for (i, bytes) in rounded.chunks(GROUP_MULTIPLE).enumerate() {
                let sum: i32 = bytes.iter().map(|p| i32::from(*p)).sum();
                lanes[(column + i * GROUP_MULTIPLE) / group_len][0] += sum;
            }
        }
    }
}

/// Rounds at most 64 numbers.
#[inline(always)]
fn round_few(
    numbers: &[f32],
    per_step: f32,
    rounded: &mut [i8],
    lanes: &mut [i32; TILE],
    round: impl Fn(&[f32; RUN], f32, &mut [i8; RUN], &mut [i32; TILE]),
) {
    let (mut whole, mut rounded_whole) = ([0.0; RUN], [0; RUN]);
    whole[..numbers.len()].copy_from_slice(numbers);
    round(&whole, per_step, &mut rounded_whole, lanes);
    rounded.copy_from_slice(&rounded_whole[..numbers.len()]);
}

/// What numbers are multiplied by to count steps.
#[inline(always)]
pub(super) fn per_step(step: f32) -> f32 {
    if step > 0.0 { 1.0 / step } else { 0.0 }
}

/// `p = a / step` rounded to the nearest whole number, ties to even, at most 127 in magnitude; adds them to sixteen sums.
#[inline(always)]
#[expect(clippy::manual_clamp, reason = "it would leave NaN, which is no whole number")]
pub(super) fn round_64(
    numbers: &[f32; RUN],
    per_step: f32,
    rounded: &mut [i8; RUN],
    lanes: &mut [i32; TILE],
) {
    let mut sums = *lanes;
    let numbers = numbers.as_chunks::<TILE>().0;
    for (rounded, numbers) in rounded.as_chunks_mut::<TILE>().0.iter_mut().zip(numbers) {
        for i in 0..TILE {
            let v = (numbers[i] * per_step).max(-LARGEST_INPUT).min(LARGEST_INPUT);
            let whole = (v + WHOLE).to_bits().cast_signed() - WHOLE.to_bits().cast_signed();
            sums[i] += whole;
            rounded[i] = whole as i8;
        }
    }
    *lanes = sums;
}
