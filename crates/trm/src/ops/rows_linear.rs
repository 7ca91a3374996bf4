//! Linear maps of rows that are kept as products read them: forward, backward, and the gradients of their weights.

use super::linear::{Format, PackedWeight, linear_backward_input, linear_backward_weight, linear_forward};
use super::rows::{InParts, Rows, Slot, Values, place, some_panels};
use crate::parallel::for_each_chunk;
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{
    PANEL, Part, Start, matmul_in_parts, matmul_packed, matmul_quantised_in_parts, matmul_quantised_packed,
    matmul_whole_rows, weight_gradient_bf16, weight_gradient_whole,
};

/// `output = input W^T + b` for one slot of the input.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, out]`.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike.
pub fn rows_forward(input: &Rows, at: Slot, (weight, bias): (&PackedWeight, &[f32]), output: &mut [f32]) {
    let _timed = phase(Phase::ForwardProducts);
    let product = |columns: Range<usize>, output: &mut [f32]| {
        let start = Start::Bias(&bias[columns.clone()]);
        match (&input.values, weight) {
            (Values::Bf16(slots), PackedWeight::Bf16(forward, _)) => {
                matmul_packed(&slots[at.slot], (forward, columns), output, start);
            }
            (Values::Quantised(slots), PackedWeight::Quantised(forward, _)) => {
                matmul_quantised_packed(&slots[at.slot], (forward, columns), output, start);
            }
            (Values::Whole(slots), PackedWeight::Whole(forward, _)) => {
                matmul_whole_rows(&slots[at.slot], 0..at.rows, (forward, columns), output, start);
            }
            _ => panic!("rounded rows times a weight rounded alike"),
        }
    };
    match &input.values {
        Values::F32(values) => linear_forward(&values[place(at, input.width)], weight, bias, output),
        // A single row waits for the weights, which come faster to several threads.
        _ if at.rows == 1 => for_each_chunk(output, PANEL, |i, output| {
            product(i * PANEL..i * PANEL + output.len(), output);
        }),
        _ => product(0..bias.len(), output),
    }
}

/// The same part by part, each given to `take` when it is made.
///
/// # Shapes
/// `scratch` is [`InParts::largest`] long.
pub fn rows_forward_in_parts(
    input: &Rows,
    at: Slot,
    (weight, bias): (&PackedWeight, &[f32]),
    in_parts: InParts,
    scratch: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let _timed = phase(Phase::ForwardProducts);
    let is_whole = in_parts == InParts::No || at.rows == 1;
    match (&input.values, weight) {
        (Values::Bf16(slots), PackedWeight::Bf16(forward, _)) if !is_whole => {
            return matmul_in_parts(&slots[at.slot], forward, Start::Bias(bias), scratch, take);
        }
        (Values::Quantised(slots), PackedWeight::Quantised(forward, _)) if !is_whole => {
            let scratch = &mut scratch[..some_panels(at.rows)];
            return matmul_quantised_in_parts(&slots[at.slot], forward, Start::Bias(bias), scratch, take);
        }
        (Values::F32(_) | Values::Whole(_), _) if !is_whole => {
            for part in in_parts.of_rows(at.rows, bias.len()) {
                let made = &mut scratch[..part.rows.len() * bias.len()];
                some_rows_forward(input, at, &part.rows, (weight, bias), made);
                take(part, made);
            }
            return;
        }
        _ => {}
    }
    let scratch = &mut scratch[..at.rows * bias.len()];
    rows_forward(input, at, (weight, bias), scratch);
    take(Part { rows: 0..at.rows, columns: 0..bias.len() }, scratch);
}

/// The same into a slot of `output`, which `next` is multiplied by: `take` gets each part before it is stored, and may change it.
///
/// # Shapes
/// As for [`rows_forward_in_parts`].
pub fn rows_forward_into(
    input: &Rows,
    at: Slot,
    (weight, bias): (&PackedWeight, &[f32]),
    (output, next): (&mut Rows, &PackedWeight),
    in_parts: InParts,
    scratch: &mut [f32],
    mut take: impl FnMut(&Part, &mut [f32]),
) {
    if let Values::F32(_) = &input.values {
        let _timed = phase(Phase::ForwardProducts);
        for part in in_parts.of_rows(at.rows, bias.len()) {
            output.make_input(at, &part, scratch, next, |made| {
                some_rows_forward(input, at, &part.rows, (weight, bias), made);
                take(&part, made);
            });
        }
        return;
    }
    rows_forward_in_parts(input, at, (weight, bias), in_parts, scratch, |part, made| {
        take(&part, made);
        output.put_input(at, &part, made, next);
    });
}

/// Some rows of that, where rows are kept by themselves.
fn some_rows_forward(
    input: &Rows,
    at: Slot,
    rows: &Range<usize>,
    (weight, bias): (&PackedWeight, &[f32]),
    output: &mut [f32],
) {
    match (&input.values, weight) {
        (Values::F32(values), _) => {
            linear_forward(some_rows(values, at, rows, input.width), weight, bias, output)
        }
        (Values::Whole(slots), PackedWeight::Whole(forward, _)) => {
            let panels = (forward, 0..bias.len());
            matmul_whole_rows(&slots[at.slot], rows.clone(), panels, output, Start::Bias(bias));
        }
        _ => panic!("rows that are kept by themselves, times a weight rounded alike"),
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
    match (&d_output.values, weight) {
        (Values::F32(_) | Values::Whole(_), _) => {
            some_rows_backward_input(d_output, at, &(0..at.rows), weight, d_input);
        }
        (Values::Bf16(slots), PackedWeight::Bf16(_, backward)) => {
            let _timed = phase(Phase::BackwardProducts);
            matmul_packed(&slots[at.slot], (backward, 0..backward.cols()), d_input, Start::Zeros);
        }
        _ => panic!("rounded rows times a rounded weight"),
    }
}

/// The same part by part, as [`rows_forward_in_parts`] makes its output.
///
/// # Shapes
/// `width` is that of the input, `scratch` is [`InParts::largest`] long.
pub fn rows_backward_input_in_parts(
    d_output: &Rows,
    at: Slot,
    weight: &PackedWeight,
    (width, in_parts): (usize, InParts),
    scratch: &mut [f32],
    mut take: impl FnMut(Part, &mut [f32]),
) {
    let _timed = phase(Phase::BackwardProducts);
    let is_whole = in_parts == InParts::No || at.rows == 1;
    match (&d_output.values, weight) {
        (Values::Bf16(slots), PackedWeight::Bf16(_, backward)) if !is_whole => {
            return matmul_in_parts(&slots[at.slot], backward, Start::Zeros, scratch, take);
        }
        (Values::F32(_) | Values::Whole(_), _) if !is_whole => {
            for part in in_parts.of_rows(at.rows, width) {
                let made = &mut scratch[..part.rows.len() * width];
                some_rows_backward_input(d_output, at, &part.rows, weight, made);
                take(part, made);
            }
            return;
        }
        _ => {}
    }
    let scratch = &mut scratch[..at.rows * width];
    rows_backward_input(d_output, at, weight, scratch);
    take(Part { rows: 0..at.rows, columns: 0..width }, scratch);
}

/// Some rows of that, where rows are kept by themselves.
fn some_rows_backward_input(
    d_output: &Rows,
    at: Slot,
    rows: &Range<usize>,
    weight: &PackedWeight,
    d_input: &mut [f32],
) {
    let _timed = phase(Phase::BackwardProducts);
    match (&d_output.values, weight) {
        (Values::F32(values), _) => {
            let d_output = some_rows(values, at, rows, d_output.width);
            linear_backward_input(rows.len(), d_output, weight, d_input);
        }
        (Values::Whole(slots), PackedWeight::Whole(_, backward)) => {
            let panels = (backward, 0..backward.cols());
            matmul_whole_rows(&slots[at.slot], rows.clone(), panels, d_input, Start::Zeros);
        }
        _ => panic!("rows that are kept by themselves, times a weight rounded alike"),
    }
}

/// Some rows of a slot of plain numbers.
fn some_rows<'a>(values: &'a [f32], at: Slot, rows: &Range<usize>, width: usize) -> &'a [f32] {
    &values[place(at, width)][rows.start * width..rows.end * width]
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
    let (mut packed, mut rounded) = (Vec::new(), Vec::new());
    for RowPairs { d_output, input, slots, rows } in pairs {
        match (&d_output.values, &input.values) {
            (Values::F32(_), Values::F32(_)) => {
                let [d_output, input] = [d_output, input].map(|values| values.plain(*slots, *rows));
                linear_backward_weight(slots * rows, input, d_output, first_output, d_weight, Format::F32);
            }
            (Values::Bf16(d_output), Values::Bf16(input)) => {
                packed.extend(d_output[..*slots].iter().zip(&input[..*slots]));
            }
            (Values::Whole(d_output), Values::Whole(input)) => {
                rounded.extend(d_output[..*slots].iter().zip(&input[..*slots]));
            }
            _ => unreachable!("a tape has one format"),
        }
    }
    if let Some((_, input)) = packed.first() {
        let _timed = phase(Phase::WeightGradients);
        let outputs = d_weight.len() / input.inner();
        weight_gradient_bf16(&packed, first_output..first_output + outputs, d_weight);
    }
    if let Some((_, input)) = rounded.first() {
        let _timed = phase(Phase::WeightGradients);
        let outputs = d_weight.len() / input.inner();
        weight_gradient_whole(&rounded, first_output..first_output + outputs, d_weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Whole;
    use crate::ops::gradient_check::numbers;
    use crate::ops::linear::TOLERANCES;

    /// A linear map with rows of either format, forward and backward: its output, the gradient of its input, made as a whole
    /// and in parts, and some of the gradient of its weight.
    fn run(format: Format, rows: usize) -> [Vec<f32>; 3] {
        let (slots, inputs, out) = (2, 70, 600);
        let (weight, bias) = (numbers(out * inputs, 2), numbers(out, 3));
        let mut packed = PackedWeight::new(format);
        packed.pack([out, inputs], &weight);
        let mut input = Rows::new(format.into(), slots, rows, inputs);
        let mut d_output = Rows::new(format.into(), slots, rows, out);
        let mut results = [vec![], vec![], vec![0.0; 40 * inputs]];
        for slot in 0..slots {
            let at = Slot { slot, rows };
            let values = numbers(rows * inputs, 4 + slot as u32);
            for part in InParts::Yes.of_rows(rows, inputs) {
                input.put(at, &part, &values[part.rows.start * inputs..part.rows.end * inputs]);
            }
            let mut output = vec![0.0; rows * out];
            rows_forward(&input, at, (&packed, &bias), &mut output);
            let mut scratch = vec![0.0; InParts::Yes.largest(format.into(), rows, out)];
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
                        Format::Whole(Whole::Int16) => largest / 4090.0,
                        Format::Whole(Whole::Int8) => largest / 125.0,
                    };
                    assert!(values.iter().zip(&stored).all(|(v, s)| (v - s).abs() <= half_a_step(*v)));
                },
            );
            assert_eq!(output, parts);
            let mut kept = Rows::new(format.into(), slots, rows, out);
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
