//! Linear maps of rows that are kept as products read them: forward, backward, and the gradients of their weights.

use super::linear::{PackedWeight, backward, forward};
use super::rows::{InParts, Rows, Slot};
use crate::timing::{Phase, phase};
use trm_kernels::{Part, Start, multiply_in_parts, weight_gradient};

/// `output = input W^T + b` for one slot of the input.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, out]`.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike.
pub fn rows_forward(input: &Rows, at: Slot, (weight, bias): (&PackedWeight, &[f32]), output: &mut [f32]) {
    forward(input.left(at), weight, Start::Bias(bias), output);
}

/// `output = input W^T + b` for one slot of the input, part by part: `take` gets each part when it is made.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, a part is `[rows, columns]` of `[rows, out]`; `scratch` is [`InParts::largest`] long.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike.
pub fn rows_forward_in_parts(
    input: &Rows,
    at: Slot,
    (weight, bias): (&PackedWeight, &[f32]),
    in_parts: InParts,
    scratch: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let _timed = phase(Phase::ForwardProducts);
    if in_parts == InParts::Yes && at.rows != 1 {
        return multiply_in_parts(input.left(at), &weight.forward, Start::Bias(bias), scratch, take);
    }
    let scratch = &mut scratch[..at.rows * bias.len()];
    rows_forward(input, at, (weight, bias), scratch);
    take(Part { rows: 0..at.rows, columns: 0..bias.len() }, scratch);
}

/// `output = input W^T + b`, from one slot of the input to the same slot of `output`, part by part. `take` gets each
/// part before it is stored, and may change it. `next` is the weight that `output` is multiplied by.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, out]`; `scratch` is [`InParts::largest`] long.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike.
pub fn rows_forward_into(
    input: &Rows,
    at: Slot,
    (weight, bias): (&PackedWeight, &[f32]),
    (output, next): (&mut Rows, &PackedWeight),
    in_parts: InParts,
    scratch: &mut [f32],
    mut take: impl FnMut(&Part, &mut [f32]),
) {
    if !input.is_plain() {
        return rows_forward_in_parts(input, at, (weight, bias), in_parts, scratch, |part, made| {
            take(&part, made);
            output.put_input(at, &part, made, next);
        });
    }
    let _timed = phase(Phase::ForwardProducts);
    for part in in_parts.of_rows(at.rows, bias.len()) {
        output.make_input(at, &part, scratch, next, |made| {
            forward(input.plain_rows(at, &part.rows), weight, Start::Bias(bias), made);
            take(&part, made);
        });
    }
}

/// `d_input = d_output W` for one slot; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_input` is `[rows, in]`.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike, or it is quantised.
pub fn rows_backward_input(d_output: &Rows, at: Slot, weight: &PackedWeight, d_input: &mut [f32]) {
    backward(d_output.left(at), weight, d_input);
}

/// `d_input = d_output W` for one slot, part by part: `take` gets each part when it is made.
///
/// # Shapes
/// `d_output` is `[rows, out]`, a part is `[rows, columns]` of `[rows, width]`, `width` being that of the input; `scratch` is
/// [`InParts::largest`] long.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike, or it is quantised.
pub fn rows_backward_input_in_parts(
    d_output: &Rows,
    at: Slot,
    weight: &PackedWeight,
    (width, in_parts): (usize, InParts),
    scratch: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let _timed = phase(Phase::BackwardProducts);
    if in_parts == InParts::Yes && at.rows != 1 {
        return multiply_in_parts(d_output.left(at), weight.backward(), Start::Zeros, scratch, take);
    }
    let scratch = &mut scratch[..at.rows * width];
    rows_backward_input(d_output, at, weight, scratch);
    take(Part { rows: 0..at.rows, columns: 0..width }, scratch);
}

/// The rows that the gradient of a weight is a sum over: rows of its input, and rows of the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub struct RowPairs<'a> {
    /// `[rows, out]` in each slot.
    pub d_output: &'a Rows,
    /// `[rows, in]` in each slot.
    pub input: &'a Rows,
    /// Number of slots in use, the first ones.
    pub slots: usize,
    /// Rows of a slot.
    pub rows: usize,
}

/// `d_weight += d_output^T input`, summed over pairs of rows in order, for the rows `first_output ..` of the weight that
/// `d_weight` holds.
///
/// # Shapes
/// `d_weight` is `[some of out, in]`; `first_output` is a multiple of 32.
///
/// # Panics
/// If rows are of different formats.
pub fn rows_backward_weight(pairs: &[RowPairs], first_output: usize, d_weight: &mut [f32]) {
    let Some(RowPairs { input, .. }) = pairs.first() else { return };
    let _timed = phase(Phase::WeightGradients);
    let mut operands = Vec::new();
    for RowPairs { d_output, input, slots, rows } in pairs {
        operands.extend(d_output.operands(*slots, *rows).into_iter().zip(input.operands(*slots, *rows)));
    }
    let outputs = first_output..first_output + d_weight.len() / input.width;
    weight_gradient(input.format, &operands, outputs, d_weight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::numbers;
    use crate::ops::linear::TOLERANCES;
    use trm_kernels::{Fixed, Format};

    /// A linear map with rows of either format, forward and backward: its output, the gradient of its input, made as a whole
    /// and in parts, and some of the gradient of its weight.
    fn run(format: Format, rows: usize) -> [Vec<f32>; 3] {
        let (slots, inputs, out) = (2, 70, 600);
        let (weight, bias) = (numbers(out * inputs, 2), numbers(out, 3));
        let mut packed = PackedWeight::new(format);
        packed.pack([out, inputs], &weight);
        let mut input = Rows::new(format, slots, rows, inputs);
        let mut d_output = Rows::new(format, slots, rows, out);
        let mut results = [vec![], vec![], vec![0.0; 40 * inputs]];
        for slot in 0..slots {
            let at = Slot { slot, rows };
            let values = numbers(rows * inputs, 4 + slot as u32);
            for part in InParts::Yes.of_rows(rows, inputs) {
                input.put(at, &part, &values[part.rows.start * inputs..part.rows.end * inputs]);
            }
            let mut output = vec![0.0; rows * out];
            rows_forward(&input, at, (&packed, &bias), &mut output);
            let mut scratch = vec![0.0; InParts::Yes.largest(format, rows, out)];
            let mut parts = vec![f32::NAN; rows * out];
            rows_forward_in_parts(
                &input,
                at,
                (&packed, &bias),
                InParts::Yes,
                &mut scratch,
                |part, values| {
                    copy(&part, values, &mut parts, out);
                    values.iter_mut().for_each(|value| *value *= -0.5);
                    d_output.put(at, &part, values);
                    let mut stored = vec![0.0; values.len()];
                    d_output.get(at, &part, &mut stored);
                    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    let half_a_step = |v: f32| match format {
                        Format::F32 => 0.0,
                        Format::Bf16 => v.abs() / 256.0,
                        Format::Fixed(Fixed::Twelve) => largest / 4090.0,
                        Format::Fixed(Fixed::Seven) => largest / 125.0,
                        Format::Quantised => unreachable!("for inference only"),
                    };
                    assert!(values.iter().zip(&stored).all(|(v, s)| (v - s).abs() <= half_a_step(*v)));
                },
            );
            assert_eq!(output, parts);
            let mut kept = Rows::new(format, slots, rows, out);
            let into = (&mut kept, &packed);
            rows_forward_into(&input, at, (&packed, &bias), into, InParts::Yes, &mut scratch, |_, values| {
                values.iter_mut().for_each(|value| *value *= -0.5);
            });
            let [by_hand, by_itself] = [&d_output, &kept].map(|kept| {
                let mut stored = vec![f32::NAN; rows * out];
                kept.get(at, &kept.all(at), &mut stored);
                stored
            });
            assert_eq!(by_hand, by_itself);
            let mut d_input = vec![0.0; rows * inputs];
            rows_backward_input(&d_output, at, &packed, &mut d_input);
            let mut parts = vec![f32::NAN; rows * inputs];
            let width = (inputs, InParts::Yes);
            rows_backward_input_in_parts(&d_output, at, &packed, width, &mut scratch, |part, values| {
                copy(&part, values, &mut parts, inputs);
            });
            assert_eq!(d_input, parts);
            results[0].extend(output);
            results[1].extend(d_input);
        }
        let pairs = [RowPairs { d_output: &d_output, input: &input, slots, rows }];
        rows_backward_weight(&pairs, 64, &mut results[2]);
        results
    }

    fn copy(part: &Part, values: &[f32], whole: &mut [f32], width: usize) {
        for (r, values) in part.rows.clone().zip(values.chunks(part.columns.len())) {
            whole[r * width..][part.columns.clone()].copy_from_slice(values);
        }
    }

    #[test]
    fn rounded_rows_give_nearly_the_products_of_plain_ones() {
        // Less than a part of plain rows, one with a single row more, and two. Of more than 64 rows gemm cuts long sums elsewhere.
        for rows in [1, 7, 33, 49, 60] {
            for (format, tolerance) in TOLERANCES {
                for (plain, rounded) in run(Format::F32, rows).iter().zip(&run(format, rows)) {
                    let largest = plain.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                    assert!(largest > 0.1, "there is something to compare");
                    for (p, r) in plain.iter().zip(rounded) {
                        assert!((p - r).abs() < tolerance * largest, "{rows} rows, {format:?}: {p} and {r}");
                    }
                }
            }
        }
    }
}
