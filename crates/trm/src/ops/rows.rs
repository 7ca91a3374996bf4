//! Rows that products read, kept from the forward pass for the gradients of weights: plain numbers, or rounded ones, laid out
//! once for all products that they take part in.
//!
//! Numbers are made in plain f32 and part by part, so that they are still in the cache when the next operation and the rounding
//! come to them.

use super::linear::PackedWeight;
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{Format, Left, Part, Rounded};

/// Some matrices `[rows, width]`, one for each slot.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(super) width: usize,
    pub(super) format: Format,
    values: Values,
}

/// How rows are kept.
#[derive(Clone, Debug)]
enum Values {
    /// Plain numbers, one slot after the other.
    Plain(Vec<f32>),
    /// Rounded to a format, a matrix for each slot.
    Rounded(Vec<Rounded>),
}

/// Place and size of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Number of the slot, from 0.
    pub slot: usize,
    /// Rows of a slot.
    pub rows: usize,
}

impl Rows {
    /// Zeros, room for some slots.
    pub fn new(format: Format, slots: usize, rows: usize, width: usize) -> Self {
        let zeros = || {
            let mut zeros = Rounded::new(format);
            // Quantised rows take the shape that their weight asks for.
            if format != Format::Quantised {
                zeros.resize([rows, width]);
            }
            zeros
        };
        let values = match format {
            Format::F32 => Values::Plain(vec![0.0; slots * rows * width]),
            _ => Values::Rounded((0..slots).map(|_| zeros()).collect()),
        };
        Self { width, format, values }
    }

    /// Bytes of a slot of `[rows, width]`. Rows for quantised weights have none until they take the shape of their weight.
    pub fn slot_bytes(format: Format, rows: usize, width: usize) -> usize {
        let kept = size_of::<Rounded>();
        match format {
            Format::F32 => 4 * rows * width,
            // Whole tiles of 32 rows.
            Format::Bf16 => kept + 4 * rows.next_multiple_of(32) * format.values_per_row(width),
            Format::Fixed(_) => kept + 4 * rows * format.values_per_row(width),
            Format::Quantised => kept,
        }
    }

    /// All of a slot.
    pub fn all(&self, at: Slot) -> Part {
        Part { rows: 0..at.rows, columns: 0..self.width }
    }

    /// Stores a part of a slot. Without room for any slot nothing is stored.
    ///
    /// # Shapes
    /// `values` is `[rows, columns]` of the part.
    ///
    /// # Panics
    /// If fixed-point numbers are kept and the part is not one of whole rows, or quantised ones, for which there is
    /// [`Self::put_input`].
    pub fn put(&mut self, at: Slot, part: &Part, values: &[f32]) {
        let shape = [at.rows, self.width];
        self.put_after(at, part, values, |rounded| rounded.resize(shape));
    }

    /// Stores a part of a slot of what `weight` is multiplied by. Without room for any slot nothing is stored.
    ///
    /// # Shapes
    /// `values` is `[rows, columns]` of the part.
    ///
    /// # Panics
    /// If quantised rows are kept and the weight is not quantised, or if the weight asks for rounding by the largest number of a
    /// row and the part is not one of whole rows.
    pub fn put_input(&mut self, at: Slot, part: &Part, values: &[f32], weight: &PackedWeight) {
        let (shape, is_quantised) = ([at.rows, self.width], self.format == Format::Quantised);
        self.put_after(at, part, values, |rounded| match is_quantised {
            true => rounded.resize_for(at.rows, &weight.forward),
            false => rounded.resize(shape),
        });
    }

    fn put_after(&mut self, at: Slot, part: &Part, values: &[f32], resize: impl FnOnce(&mut Rounded)) {
        match &mut self.values {
            Values::Plain(slots) if !slots.is_empty() => {
                let slot = &mut slots[place(at, self.width)];
                for (r, values) in part.rows.clone().zip(values.chunks_exact(part.columns.len())) {
                    slot[r * self.width..][part.columns.clone()].copy_from_slice(values);
                }
            }
            Values::Rounded(slots) if !slots.is_empty() => {
                let _timed = phase(Phase::Packing);
                let rounded = &mut slots[at.slot];
                resize(rounded);
                rounded.store(part, values);
            }
            _ => {}
        }
    }

    /// Stores what `make` fills a part of a slot with: in place where plain numbers of whole rows are kept, else by way of
    /// `scratch`.
    ///
    /// # Shapes
    /// What is filled is `[rows, columns]` of the part, which `scratch` has room for.
    pub fn make(&mut self, at: Slot, part: &Part, scratch: &mut [f32], make: impl FnOnce(&mut [f32])) {
        self.make_and(at, part, scratch, make, |rows, made| rows.put(at, part, made));
    }

    /// Stores what `make` fills a part of a slot with, of what `weight` is multiplied by: in place where plain numbers of whole
    /// rows are kept, else by way of `scratch`.
    ///
    /// # Shapes
    /// What is filled is `[rows, columns]` of the part, which `scratch` has room for.
    ///
    /// # Panics
    /// If [`Self::put_input`] would.
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

    /// Changes a part of a slot: in place where plain numbers of whole rows are kept, else by way of `scratch`.
    ///
    /// # Shapes
    /// What is changed is `[rows, columns]` of the part, which `scratch` has room for.
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
            Values::Plain(slots) if !slots.is_empty() && part.columns == (0..width) => {
                Some(&mut slots[first + part.rows.start * width..first + part.rows.end * width])
            }
            _ => None,
        }
    }

    /// Reads a part of a slot.
    ///
    /// # Shapes
    /// `values` is `[rows, columns]` of the part.
    ///
    /// # Panics
    /// If fixed-point numbers are kept and the part is not one of whole rows, or quantised ones, which are not read back.
    pub fn get(&self, at: Slot, part: &Part, values: &mut [f32]) {
        match &self.values {
            Values::Plain(slots) => {
                let slot = &slots[place(at, self.width)];
                for (r, values) in part.rows.clone().zip(values.chunks_exact_mut(part.columns.len())) {
                    values.copy_from_slice(&slot[r * self.width..][part.columns.clone()]);
                }
            }
            Values::Rounded(slots) => {
                let _timed = phase(Phase::Packing);
                slots[at.slot].load(part, values);
            }
        }
    }

    /// A slot as the left operand of a product.
    pub(super) fn left(&self, at: Slot) -> Left<'_> {
        match &self.values {
            Values::Plain(values) => Left::Plain { rows: at.rows, values: &values[place(at, self.width)] },
            Values::Rounded(slots) => Left::Rounded(&slots[at.slot]),
        }
    }

    /// Whether they are plain numbers.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.values, Values::Plain(_))
    }

    /// Some rows of a slot of plain numbers as the left operand of a product.
    ///
    /// # Panics
    /// If they are rounded.
    pub(super) fn plain_rows(&self, at: Slot, rows: &Range<usize>) -> Left<'_> {
        let first = at.slot * at.rows;
        let values = &self.plain(at.slot + 1, at.rows)[(first + rows.start) * self.width..];
        Left::Plain { rows: rows.len(), values: &values[..rows.len() * self.width] }
    }

    /// The first slots as one matrix of plain numbers.
    ///
    /// # Panics
    /// If they are rounded.
    pub fn plain(&self, slots: usize, rows: usize) -> &[f32] {
        match &self.values {
            Values::Plain(values) => &values[..slots * rows * self.width],
            Values::Rounded(_) => panic!("these rows are rounded"),
        }
    }

    /// The first slots as operands of the gradient of a weight: one of plain numbers, or one for each slot.
    pub(super) fn operands(&self, slots: usize, rows: usize) -> Vec<Left<'_>> {
        match &self.values {
            Values::Plain(_) => vec![Left::Plain { rows: slots * rows, values: self.plain(slots, rows) }],
            Values::Rounded(kept) => kept[..slots].iter().map(Left::Rounded).collect(),
        }
    }
}

/// Where a slot stands in plain numbers.
fn place(at: Slot, width: usize) -> Range<usize> {
    at.slot * at.rows * width..(at.slot + 1) * at.rows * width
}

/// How a matrix is made: as a whole, or in parts that stay in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InParts {
    /// The matrix is made as a whole, since the next operation looks at all of it.
    No,
    /// The matrix is made in parts if it has more than one row. If the left operand is plain or has a step for each
    /// row, a part is some whole rows; otherwise a part is some columns of all rows. A single row is made as a whole:
    /// its columns are shared among the threads.
    Yes,
}

impl InParts {
    /// [`Self::Yes`] if both `self` and `other` allow parts.
    pub fn and(self, other: Self) -> Self {
        if self == Self::Yes { other } else { Self::No }
    }

    /// Most numbers of `[rows, width]` that are made at once.
    pub fn largest(self, format: Format, rows: usize, width: usize) -> usize {
        let whole = rows * width;
        match format {
            _ if self == Self::No || rows == 1 => whole,
            // The largest number of a row may say how it is rounded, and then it is made as a whole.
            Format::Quantised => whole.max(format.part_len(rows, width)),
            _ => format.part_len(rows, width),
        }
    }

    /// Cuts `[rows, width]` into parts of whole rows; no part is a single row if there are more. Without rows there is
    /// one empty part.
    pub fn of_rows(self, rows: usize, width: usize) -> impl Iterator<Item = Part> {
        let whole = Part { rows: 0..rows, columns: 0..width };
        let parts = (self == Self::Yes).then(|| Part::by_rows(rows, width));
        let is_whole = parts.is_none();
        parts.into_iter().flatten().chain(is_whole.then_some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trm_kernels::Fixed;

    #[test]
    fn a_slot_is_made_and_changed_as_plain_numbers() {
        let (rows, width) = (37, 40);
        let at = Slot { slot: 1, rows };
        // Few bits, so that rounding changes nothing.
        let values: Vec<f32> = (0..rows * width).map(|i| (i % 101) as f32 - 50.0).collect();
        for format in [Format::F32, Format::Bf16] {
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
        let mut kept = Rows::new(Format::Fixed(Fixed::Twelve), 2, rows, width);
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
        for format in [Format::F32, Format::Bf16, Format::Fixed(Fixed::Twelve), Format::Quantised] {
            let mut none = Rows::new(format, 0, 3, 40);
            none.put(Slot { slot: 0, rows: 3 }, &Part { rows: 0..3, columns: 0..40 }, &[1.0; 120]);
            let mut scratch = [0.0; 120];
            let at = Slot { slot: 0, rows: 3 };
            none.make(at, &none.all(at), &mut scratch, |made| made.fill(1.0));
            assert_eq!(scratch, [1.0; 120], "what is made there can be used");
        }
    }
}
