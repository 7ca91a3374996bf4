//! Rows that products read, kept from the forward pass for the gradients of weights: plain numbers, or bfloat16 rounded and
//! laid out once for all products that they take part in.
//!
//! Numbers are made in plain f32 and some columns at a time, so that they are still in the cache when they are rounded.

use super::linear::{Format, PackedWeight, linear_backward_input, linear_backward_weight, linear_forward};
use crate::parallel::for_each_chunk;
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{Overwrite, PANEL, PackedRows, matmul_packed, weight_gradient_bf16};

/// Columns that are made at once where they are rounded: whole panels.
const CHUNK: usize = 4 * PANEL;

/// Some matrices `[rows, width]`, one for each slot.
#[derive(Clone, Debug)]
pub struct Rows {
    width: usize,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// One slot after the other.
    F32(Vec<f32>),
    Bf16(Vec<PackedRows>),
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
    pub fn new(format: Format, slots: usize, rows: usize, width: usize) -> Self {
        let values = match format {
            Format::F32 => Values::F32(vec![0.0; slots * rows * width]),
            Format::Bf16 => Values::Bf16(vec![PackedRows::zeros(rows, width); slots]),
        };
        Self { width, values }
    }

    /// Memory of a row in f32 numbers.
    pub fn values_per_row(format: Format, width: usize) -> usize {
        match format {
            Format::F32 => width,
            Format::Bf16 => width.next_multiple_of(32) / 2,
        }
    }

    /// How many columns of so many are worked on at once: all of them where nothing is rounded, or where a single row has
    /// nothing to share but its columns.
    pub fn chunk(format: Format, rows: usize, width: usize) -> usize {
        if format == Format::F32 || rows == 1 { width } else { CHUNK.min(width) }
    }

    /// Lets `make` fill some columns of a slot, `[rows, columns]`; of a slot that there is no room for they are forgotten.
    ///
    /// # Shapes
    /// `scratch` has room for the columns.
    pub fn write(
        &mut self,
        at: Slot,
        columns: Range<usize>,
        scratch: &mut [f32],
        make: impl FnOnce(&mut [f32]),
    ) {
        let scratch = &mut scratch[..at.rows * columns.len()];
        match &mut self.values {
            Values::F32(values) if !values.is_empty() => make(&mut values[place(at, self.width)]),
            Values::Bf16(slots) if !slots.is_empty() => {
                make(scratch);
                let _timed = phase(Phase::Packing);
                let packed = &mut slots[at.slot];
                packed.resize([at.rows, self.width]);
                packed.store(columns, scratch);
            }
            _ => make(scratch),
        }
    }

    /// Lets `change` change some columns of a slot, `[rows, columns]`.
    ///
    /// # Shapes
    /// As for [`Self::write`].
    pub fn update(
        &mut self,
        at: Slot,
        columns: Range<usize>,
        scratch: &mut [f32],
        change: impl FnOnce(&mut [f32]),
    ) {
        match &mut self.values {
            Values::F32(values) => change(&mut values[place(at, self.width)]),
            Values::Bf16(slots) => {
                let (packed, scratch) = (&mut slots[at.slot], &mut scratch[..at.rows * columns.len()]);
                let timed = phase(Phase::Packing);
                packed.load(columns.clone(), scratch);
                drop(timed);
                change(scratch);
                let _timed = phase(Phase::Packing);
                packed.store(columns, scratch);
            }
        }
    }

    /// The first slots as one matrix of plain numbers.
    ///
    /// # Panics
    /// If they are rounded.
    pub fn plain(&self, slots: usize, rows: usize) -> &[f32] {
        match &self.values {
            Values::F32(values) => &values[..slots * rows * self.width],
            Values::Bf16(_) => panic!("these rows are rounded"),
        }
    }
}

fn place(at: Slot, width: usize) -> Range<usize> {
    at.slot * at.rows * width..(at.slot + 1) * at.rows * width
}

/// Columns of `output = input W^T + b` for one slot of the input.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, columns]`; plain rows want all columns.
///
/// # Panics
/// If the rows are rounded and the weight is not.
pub fn rows_forward(
    input: &Rows,
    at: Slot,
    (weight, bias): (&PackedWeight, &[f32]),
    columns: Range<usize>,
    output: &mut [f32],
) {
    let slots = match &input.values {
        Values::F32(values) => return linear_forward(&values[place(at, input.width)], weight, bias, output),
        Values::Bf16(slots) => slots,
    };
    let PackedWeight::Bf16(forward, _) = weight else { panic!("rounded rows times a rounded weight") };
    let _timed = phase(Phase::ForwardProducts);
    for row in output.chunks_exact_mut(columns.len()) {
        row.copy_from_slice(&bias[columns.clone()]);
    }
    let packed = &slots[at.slot];
    if at.rows > 1 {
        return matmul_packed(packed, (forward, columns), output, Overwrite::No);
    }
    // A single row waits for the weights, which come faster to several threads.
    for_each_chunk(output, PANEL, |i, output| {
        let first = columns.start + i * PANEL;
        matmul_packed(packed, (forward, first..first + output.len()), output, Overwrite::No);
    });
}

/// Columns of `d_input = d_output W` for one slot; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `weight` is `[out, in]`, unpacked and packed, `d_input` is `[rows, columns]`; plain rows want
/// all columns.
///
/// # Panics
/// If the rows are rounded and the weight is not.
pub fn rows_backward_input(
    d_output: &Rows,
    at: Slot,
    (weight, packed): (&[f32], &PackedWeight),
    columns: Range<usize>,
    d_input: &mut [f32],
) {
    match (&d_output.values, packed) {
        (Values::F32(values), packed) => {
            linear_backward_input(at.rows, &values[place(at, d_output.width)], (weight, packed), d_input);
        }
        (Values::Bf16(slots), PackedWeight::Bf16(_, backward)) => {
            let _timed = phase(Phase::BackwardProducts);
            matmul_packed(&slots[at.slot], (backward, columns), d_input, Overwrite::Yes);
        }
        _ => panic!("rounded rows times a rounded weight"),
    }
}

/// The rows that a weight's gradient is a sum over: of its input and of the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub struct RowPairs<'a> {
    /// `[rows, out]` in each slot.
    pub d_output: &'a Rows,
    /// `[rows, in]` in each slot.
    pub input: &'a Rows,
    /// The first slots, so many of them.
    pub slots: usize,
    /// Rows of a slot.
    pub rows: usize,
}

/// `d_weight += d_output^T input`, summed over pairs of rows in order, for the rows `first_output ..` of the weight that
/// `d_weight` holds.
///
/// # Shapes
/// `d_weight` is `[some of out, in]`; `first_output` is a multiple of 32.
pub fn rows_backward_weight(pairs: &[RowPairs], first_output: usize, d_weight: &mut [f32]) {
    let mut packed = Vec::new();
    for RowPairs { d_output, input, slots, rows } in pairs {
        match (&d_output.values, &input.values) {
            (Values::F32(_), Values::F32(_)) => {
                let [d_output, input] = [d_output, input].map(|values| values.plain(*slots, *rows));
                linear_backward_weight(slots * rows, input, d_output, first_output, d_weight, Format::F32);
            }
            (Values::Bf16(d_output), Values::Bf16(input)) => {
                packed.extend(d_output[..*slots].iter().zip(&input[..*slots]));
            }
            _ => unreachable!("a tape has one format"),
        }
    }
    if let Some((_, input)) = packed.first() {
        let _timed = phase(Phase::WeightGradients);
        let outputs = d_weight.len() / input.inner();
        weight_gradient_bf16(&packed, first_output..first_output + outputs, d_weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::numbers;

    /// A linear map with rows of either format, forward and backward, its columns in chunks.
    fn run(format: Format, rows: usize) -> [Vec<f32>; 3] {
        let (slots, inputs, out) = (2, 70, 600);
        let (weight, bias) = (numbers(out * inputs, 2), numbers(out, 3));
        let mut packed = PackedWeight::new(format);
        packed.pack([out, inputs], &weight);
        let mut input = Rows::new(format, slots, rows, inputs);
        let mut d_output = Rows::new(format, slots, rows, out);
        let mut scratch = vec![0.0; rows * out];
        let mut results = [vec![], vec![], vec![0.0; 40 * inputs]];
        for slot in 0..slots {
            let (at, seed) = (Slot { slot, rows }, slot as u32);
            input
                .write(at, 0..inputs, &mut scratch, |x| x.copy_from_slice(&numbers(rows * inputs, 4 + seed)));
            let chunk = Rows::chunk(format, rows, out);
            let mut whole = vec![0.0; rows * out];
            for first in (0..out).step_by(chunk) {
                let columns = first..(first + chunk).min(out);
                let put = |whole: &mut [f32], part: &[f32]| {
                    for (row, part) in whole.chunks_mut(out).zip(part.chunks(columns.len())) {
                        row[columns.clone()].copy_from_slice(part);
                    }
                };
                d_output.write(at, columns.clone(), &mut scratch, |part| {
                    rows_forward(&input, at, (&packed, &bias), columns.clone(), part);
                    put(&mut whole, part);
                });
                d_output.update(at, columns.clone(), &mut scratch, |part| {
                    part.iter_mut().for_each(|value| *value *= -0.5);
                });
            }
            let mut d_input = vec![0.0; rows * inputs];
            rows_backward_input(&d_output, at, (&weight, &packed), 0..inputs, &mut d_input);
            results[0].extend(whole);
            results[1].extend(d_input);
        }
        let pairs = [RowPairs { d_output: &d_output, input: &input, slots, rows }];
        rows_backward_weight(&pairs, 64, &mut results[2]);
        results
    }

    #[test]
    fn rounded_rows_give_the_products_of_plain_ones_to_a_hundredth() {
        for rows in [1, 7, 33] {
            for (plain, rounded) in run(Format::F32, rows).iter().zip(&run(Format::Bf16, rows)) {
                let largest = plain.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(largest > 0.1, "there is something to compare");
                for (p, r) in plain.iter().zip(rounded) {
                    assert!((p - r).abs() < 0.01 * largest, "{rows} rows: {p} and {r}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_room_is_made_and_forgotten() {
        for format in [Format::F32, Format::Bf16] {
            let mut none = Rows::new(format, 0, 3, 40);
            let mut scratch = vec![0.0; 3 * 40];
            none.write(Slot { slot: 0, rows: 3 }, 0..40, &mut scratch, |values| values.fill(1.0));
            assert_eq!(scratch, [1.0; 120]);
        }
    }
}
