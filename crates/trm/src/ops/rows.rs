//! Rows that products read, kept from the forward pass for the gradients of weights: plain numbers, or rounded ones, laid out
//! once for all products that they take part in.
//!
//! Numbers are made in plain f32 and part by part, so that they are still in the cache when the next operation and the rounding
//! come to them.

use super::linear::{Format, PackedWeight};
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{PANEL, PackedRows, Part, QuantisedRows, Whole, WholeRows};

/// What rows are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsFormat {
    /// Nothing.
    F32,
    /// bfloat16
    Bf16,
    /// Whole numbers, in steps for each row.
    Whole(Whole),
    /// Whole numbers of 8 bits, for quantised weights: in inference only.
    Quantised,
}

impl From<Format> for RowsFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::F32 => Self::F32,
            Format::Bf16 => Self::Bf16,
            Format::Whole(whole) => Self::Whole(whole),
        }
    }
}

/// Some matrices `[rows, width]`, one for each slot.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(super) width: usize,
    pub(super) values: Values,
}

/// What rows are kept as.
#[derive(Clone, Debug)]
pub(super) enum Values {
    /// One slot after the other.
    F32(Vec<f32>),
    Bf16(Vec<PackedRows>),
    Whole(Vec<WholeRows>),
    Quantised(Vec<QuantisedRows>),
}

/// One slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its number.
    pub slot: usize,
    /// Rows of a slot.
    pub rows: usize,
}

impl Rows {
    /// Zeros, room for some slots.
    pub fn new(format: RowsFormat, slots: usize, rows: usize, width: usize) -> Self {
        let values = match format {
            RowsFormat::F32 => Values::F32(vec![0.0; slots * rows * width]),
            RowsFormat::Bf16 => Values::Bf16(vec![PackedRows::zeros(rows, width); slots]),
            RowsFormat::Whole(whole) => Values::Whole(vec![WholeRows::zeros(whole, rows, width); slots]),
            // They take the shape that their weight asks for.
            RowsFormat::Quantised => Values::Quantised(vec![QuantisedRows::default(); slots]),
        };
        Self { width, values }
    }

    /// Bytes of a slot of `[rows, width]`. Rows for quantised weights have none until they take the shape of their weight.
    pub fn slot_bytes(format: RowsFormat, rows: usize, width: usize) -> usize {
        match format {
            RowsFormat::F32 => 4 * rows * width,
            // Whole tiles of 32 rows and 32 numbers.
            RowsFormat::Bf16 => 2 * rows.next_multiple_of(32) * width.next_multiple_of(32),
            RowsFormat::Whole(whole) => 4 * rows * WholeRows::values_per_row(whole, width),
            RowsFormat::Quantised => 0,
        }
    }

    /// All of a slot.
    pub fn all(&self, at: Slot) -> Part {
        Part { rows: 0..at.rows, columns: 0..self.width }
    }

    /// Stores a part of a slot; one that there is no room for is forgotten.
    ///
    /// # Shapes
    /// `values` is `[rows, columns]` of the part.
    ///
    /// # Panics
    /// If whole numbers are kept and these are no whole rows.
    pub fn put(&mut self, at: Slot, part: &Part, values: &[f32]) {
        match &mut self.values {
            Values::F32(slots) if !slots.is_empty() => {
                let slot = &mut slots[place(at, self.width)];
                for (r, values) in part.rows.clone().zip(values.chunks_exact(part.columns.len())) {
                    slot[r * self.width..][part.columns.clone()].copy_from_slice(values);
                }
            }
            Values::Bf16(slots) if !slots.is_empty() => {
                let _timed = phase(Phase::Packing);
                let packed = &mut slots[at.slot];
                packed.resize([at.rows, self.width]);
                packed.store(part, values);
            }
            Values::Whole(slots) if !slots.is_empty() => {
                let _timed = phase(Phase::Packing);
                assert_eq!(part.columns, 0..self.width, "whole rows, whose largest number counts");
                let rounded = &mut slots[at.slot];
                rounded.resize([at.rows, self.width]);
                rounded.store(part.rows.clone(), values);
            }
            Values::Quantised(slots) if !slots.is_empty() => panic!("rows are rounded for a weight"),
            _ => {}
        }
    }

    /// Stores a part of a slot of what `weight` is multiplied by.
    ///
    /// # Shapes
    /// As for [`Self::put`].
    ///
    /// # Panics
    /// If rows for quantised weights are asked for and the weight is none, or rounds whole rows and this is no part of whole rows.
    pub fn put_input(&mut self, at: Slot, part: &Part, values: &[f32], weight: &PackedWeight) {
        let Values::Quantised(slots) = &mut self.values else { return self.put(at, part, values) };
        let PackedWeight::Quantised(panels, step) = weight else { panic!("a quantised weight") };
        let _timed = phase(Phase::Packing);
        let rows = &mut slots[at.slot];
        rows.resize(at.rows, panels);
        rows.store(part, values, *step);
    }

    /// Stores what `make` fills a part of a slot with: in place where plain numbers of whole rows are kept, else by way of
    /// `scratch`.
    ///
    /// # Shapes
    /// What is filled is `[rows, columns]` of the part, which `scratch` has room for.
    pub fn make(&mut self, at: Slot, part: &Part, scratch: &mut [f32], make: impl FnOnce(&mut [f32])) {
        self.make_and(at, part, scratch, make, |rows, made| rows.put(at, part, made));
    }

    /// The same for what `weight` is multiplied by.
    ///
    /// # Shapes
    /// As for [`Self::make`].
    ///
    /// # Panics
    /// As [`Self::put_input`].
    pub fn make_input(
        &mut self,
        at: Slot,
        part: &Part,
        scratch: &mut [f32],
        weight: &PackedWeight,
        make: impl FnOnce(&mut [f32]),
    ) {
        self.make_and(at, part, scratch, make, |rows, made| rows.put_input(at, part, made, weight));
    }

    /// Changes a part of a slot, as [`Self::make`] makes it.
    ///
    /// # Shapes
    /// As for [`Self::make`].
    pub fn change(&mut self, at: Slot, part: &Part, scratch: &mut [f32], change: impl FnOnce(&mut [f32])) {
        if self.in_place(at, part).is_none() {
            self.get(at, part, &mut scratch[..part.rows.len() * part.columns.len()]);
        }
        self.make(at, part, scratch, change);
    }

    /// Makes a part in place, or in `scratch`, which `put` stores then.
    fn make_and(
        &mut self,
        at: Slot,
        part: &Part,
        scratch: &mut [f32],
        make: impl FnOnce(&mut [f32]),
        put: impl FnOnce(&mut Self, &[f32]),
    ) {
        if let Some(kept) = self.in_place(at, part) {
            return make(kept);
        }
        let scratch = &mut scratch[..part.rows.len() * part.columns.len()];
        make(scratch);
        put(self, scratch);
    }

    /// A part of whole rows of plain numbers that there is room for.
    fn in_place(&mut self, at: Slot, part: &Part) -> Option<&mut [f32]> {
        let (first, width) = (place(at, self.width).start, self.width);
        match &mut self.values {
            Values::F32(slots) if !slots.is_empty() && part.columns == (0..width) => {
                Some(&mut slots[first + part.rows.start * width..first + part.rows.end * width])
            }
            _ => None,
        }
    }

    /// Reads a part of a slot.
    ///
    /// # Shapes
    /// As for [`Self::put`].
    pub fn get(&self, at: Slot, part: &Part, values: &mut [f32]) {
        match &self.values {
            Values::F32(slots) => {
                let slot = &slots[place(at, self.width)];
                for (r, values) in part.rows.clone().zip(values.chunks_exact_mut(part.columns.len())) {
                    values.copy_from_slice(&slot[r * self.width..][part.columns.clone()]);
                }
            }
            Values::Bf16(slots) => {
                let _timed = phase(Phase::Packing);
                slots[at.slot].load(part, values);
            }
            Values::Whole(slots) => {
                let _timed = phase(Phase::Packing);
                assert_eq!(part.columns, 0..self.width, "whole rows");
                slots[at.slot].load(part.rows.clone(), values);
            }
            Values::Quantised(_) => panic!("what quantised weights are multiplied by is not read back"),
        }
    }

    /// The first slots as one matrix of plain numbers.
    ///
    /// # Panics
    /// If they are rounded.
    pub fn plain(&self, slots: usize, rows: usize) -> &[f32] {
        match &self.values {
            Values::F32(values) => &values[..slots * rows * self.width],
            _ => panic!("these rows are rounded"),
        }
    }
}

/// Where a slot stands in plain numbers.
pub(super) fn place(at: Slot, width: usize) -> Range<usize> {
    at.slot * at.rows * width..(at.slot + 1) * at.rows * width
}

/// How a matrix is made: as a whole, or in parts that stay in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InParts {
    /// As a whole: the next operation looks at all of it.
    No,
    /// Some rows at a time of plain numbers and of those with a step for each row, some columns of others, where there is more
    /// than one row: a single one shares its columns among the threads.
    Yes,
}

impl InParts {
    /// In parts if both allow it.
    pub fn and(self, other: Self) -> Self {
        if self == Self::Yes { other } else { Self::No }
    }

    /// Most numbers of `[rows, width]` that are made at once.
    pub fn largest(self, format: RowsFormat, rows: usize, width: usize) -> usize {
        match format {
            _ if self == Self::No || rows == 1 => rows * width,
            RowsFormat::F32 | RowsFormat::Whole(_) => rows.min(SOME_ROWS + 1) * width,
            RowsFormat::Bf16 => some_panels(rows),
            // They may be rounded by whole rows.
            RowsFormat::Quantised => (rows * width).max(some_panels(rows)),
        }
    }

    /// `[rows, width]` in parts of whole rows; of no rows, one part without any. A single row left over goes with those before
    /// it: products of one are made in another way.
    pub fn of_rows(self, rows: usize, width: usize) -> impl Iterator<Item = Part> {
        let height = if self == Self::No { rows } else { SOME_ROWS };
        let firsts =
            (0..rows.max(1)).step_by(height.max(1)).filter(move |first| *first == 0 || first + 1 < rows);
        firsts.map(move |first| {
            let end = first + height;
            Part { rows: first..if end + 1 < rows { end } else { rows }, columns: 0..width }
        })
    }
}

/// Rows that are made at once: whole tiles of rounded ones, whole blocks of gemm's, and of a wide matrix no more than a
/// second-level cache holds.
const SOME_ROWS: usize = 48;

/// Numbers of `rows` rows that are made at once: 32 kB, or a panel.
pub(super) fn some_panels(rows: usize) -> usize {
    const SOME: usize = 1 << 13;
    rows * PANEL * (SOME / (rows * PANEL)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_made_and_changed_as_plain_numbers() {
        let (rows, width) = (37, 40);
        let at = Slot { slot: 1, rows };
        // Few bits, so that rounding changes nothing.
        let values: Vec<f32> = (0..rows * width).map(|i| (i % 101) as f32 - 50.0).collect();
        for format in [RowsFormat::F32, RowsFormat::Bf16] {
            let mut kept = Rows::new(format, 2, rows, width);
            let mut scratch = vec![f32::NAN; rows * width];
            let whole = kept.all(at);
            kept.make(at, &whole, &mut scratch, |made| made.copy_from_slice(&values));
            scratch.fill(f32::NAN);
            for (range, columns) in [(0..16, 0..width), (16..rows, 0..32), (16..rows, 32..width)] {
                let part = Part { rows: range, columns };
                kept.change(at, &part, &mut scratch, |made| {
                    for (r, row) in part.rows.clone().zip(made.chunks_exact_mut(part.columns.len())) {
                        assert_eq!(row, &values[r * width..][part.columns.clone()]);
                        row.iter_mut().for_each(|value| *value *= -0.5);
                    }
                });
            }
            let mut read = vec![f32::NAN; rows * width];
            kept.get(at, &whole, &mut read);
            assert!(values.iter().map(|value| -0.5 * value).eq(read));
        }
    }

    #[test]
    fn a_slot_of_12_bit_numbers_is_made_and_changed_by_whole_rows() {
        let (rows, width) = (37, 40);
        let at = Slot { slot: 1, rows };
        let values: Vec<f32> = (0..rows * width).map(|i| (i * i % 101) as f32 - 50.0).collect();
        // Half a step of a number below 51.
        let close = |a: f32, b: f32| (a - b).abs() <= 51.0 / 4094.0;
        let mut kept = Rows::new(RowsFormat::Whole(Whole::Int16), 2, rows, width);
        let mut scratch = vec![f32::NAN; rows * width];
        let whole = kept.all(at);
        kept.make(at, &whole, &mut scratch, |made| made.copy_from_slice(&values));
        for rows in [0..17, 17..rows] {
            let part = Part { rows: rows.clone(), columns: 0..width };
            kept.change(at, &part, &mut scratch, |made| {
                assert!(made.iter().zip(&values[rows.start * width..]).all(|(m, v)| close(*m, *v)));
                made.iter_mut().for_each(|value| *value *= -0.5);
            });
        }
        let mut read = vec![f32::NAN; rows * width];
        kept.get(at, &whole, &mut read);
        assert!(values.iter().zip(&read).all(|(value, read)| close(-0.5 * value, *read)));
    }

    #[test]
    fn what_has_no_room_is_forgotten() {
        for format in
            [RowsFormat::F32, RowsFormat::Bf16, RowsFormat::Whole(Whole::Int16), RowsFormat::Quantised]
        {
            let mut none = Rows::new(format, 0, 3, 40);
            none.put(Slot { slot: 0, rows: 3 }, &Part { rows: 0..3, columns: 0..40 }, &[1.0; 120]);
            let mut scratch = [0.0; 120];
            let at = Slot { slot: 0, rows: 3 };
            none.make(at, &none.all(at), &mut scratch, |made| made.fill(1.0));
            assert_eq!(scratch, [1.0; 120], "what is made there can be used");
        }
    }
}
