//! `output = input W^T + b`, with the weight laid out as PyTorch's `nn.Linear` has it, `[out, in]`.
//!
//! The recursion multiplies by the same weights many times between two updates, so they are packed once after each:
//! for both directions.

use super::InParts;
use crate::parallel::for_each_chunk;
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{Format, Left, Overwrite, PANEL, Right, Start, multiply, vectorize, weight_gradient};

/// A weight `[out, in]` as products read it, in any format.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    /// Right operand of the forward product, `[in, out]`.
    pub(super) forward: Right,
    /// Right operand of the backward product, `[out, in]`; quantised weights have none.
    backward: Option<Right>,
}

impl PackedWeight {
    /// A weight without numbers, which [`Self::pack`] gives some.
    ///
    /// # Panics
    /// For [`Format::Quantised`]: such weights come from [`QuantisedWeight::packed`](super::QuantisedWeight::packed).
    pub fn new(format: Format) -> Self {
        Self { forward: Right::new(format), backward: Some(Right::new(format)) }
    }

    /// A weight whose integers were chosen before, for forward products alone.
    pub(super) fn quantised(forward: Right) -> Self {
        Self { forward, backward: None }
    }

    /// Packs a weight; a quantised one keeps the numbers it was made of.
    ///
    /// # Shapes
    /// `weight` is `[out, in]`.
    pub fn pack(&mut self, [out, inputs]: [usize; 2], weight: &[f32]) {
        if let Some(backward) = &mut self.backward {
            self.forward.pack_transposed([inputs, out], weight);
            backward.pack([out, inputs], weight);
        }
    }

    /// Whether the weight is quantised, and so for inference only.
    pub fn is_quantised(&self) -> bool {
        self.forward.format() == Format::Quantised
    }

    /// How the input of the weight can be made: as a whole if the largest number of each row says how the row is
    /// rounded, else in parts of some columns.
    pub fn inputs_in_parts(&self) -> InParts {
        if self.is_quantised() && !self.forward.rounds_in_parts() { InParts::No } else { InParts::Yes }
    }

    /// # Panics
    /// If the weight is quantised.
    pub(super) fn backward(&self) -> &Right {
        self.backward
            .as_ref()
            .expect("quantised weights take part in inference only: they have no backward product")
    }
}

/// `output = input W^T + b`.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, out]`.
pub fn linear_forward(input: &[f32], weight: &PackedWeight, bias: &[f32], output: &mut [f32]) {
    let rows = output.len() / bias.len();
    forward(Left::Plain { rows, values: input }, weight, Start::Bias(bias), output);
}

/// `output = input W^T`, or added to it.
///
/// # Shapes
/// `input` is `[rows, in]`, `output` is `[rows, out]`.
pub fn product(rows: usize, input: &[f32], weight: &PackedWeight, output: &mut [f32], overwrite: Overwrite) {
    forward(Left::Plain { rows, values: input }, weight, overwrite.into(), output);
}

/// `output = input W^T` and what it starts from. A single row waits for the weights, which come faster to several threads: there a
/// panel of columns is a piece of work, whatever the number of threads.
///
/// # Shapes
/// `input` is `[rows, in]`, `output` is `[rows, out]`, a bias is `[out]`.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike.
pub(super) fn forward(input: Left, weight: &PackedWeight, start: Start, output: &mut [f32]) {
    let _timed = phase(Phase::ForwardProducts);
    let right = &weight.forward;
    match input.rows() {
        0 => {}
        1 => for_each_chunk(output, PANEL, |i, output| {
            let columns = i * PANEL..i * PANEL + output.len();
            row_product(input, (right, columns.clone()), output, start.of(&columns));
        }),
        rows => multiply(input, (right, 0..output.len() / rows), output, start),
    }
}

/// Some columns of the product of one row. In f32 they come from two equal rows: for a single one `gemm` sums in another order,
/// and what is predicted for a puzzle would depend on whether others come along. It is quicker too.
fn row_product(input: Left, weight: (&Right, Range<usize>), output: &mut [f32], start: Start) {
    match input {
        Left::Plain { values, .. } if weight.0.format() == Format::F32 => {
            let mut both = output.repeat(2);
            multiply(Left::Plain { rows: 2, values: &values.repeat(2) }, weight, &mut both, start);
            output.copy_from_slice(&both[..output.len()]);
        }
        _ => multiply(input, weight, output, start),
    }
}

/// `d_input = d_output W`; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_input` is `[rows, in]`.
///
/// # Panics
/// If the weight is quantised.
pub fn linear_backward_input(rows: usize, d_output: &[f32], weight: &PackedWeight, d_input: &mut [f32]) {
    backward(Left::Plain { rows, values: d_output }, weight, d_input);
}

/// `d_input = d_output W` for plain or rounded rows; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_input` is `[rows, in]`.
///
/// # Panics
/// If the rows are rounded and the weight is not rounded alike, or it is quantised.
pub(super) fn backward(d_output: Left, weight: &PackedWeight, d_input: &mut [f32]) {
    let _timed = phase(Phase::BackwardProducts);
    if let Some(inputs) = d_input.len().checked_div(d_output.rows()) {
        multiply(d_output, (weight.backward(), 0..inputs), d_input, Start::Zeros);
    }
}

/// `d_weight += d_output^T input` for the rows `first_output ..` of the weight that `d_weight` holds, from operands rounded to a
/// format.
///
/// # Shapes
/// `input` is `[rows, in]`, `d_output` is `[rows, out]`, `d_weight` is `[some of out, in]`; of rounded numbers `first_output`
/// is a multiple of 32.
pub fn linear_backward_weight(
    rows: usize,
    input: &[f32],
    d_output: &[f32],
    first_output: usize,
    d_weight: &mut [f32],
    format: Format,
) {
    let Some(inputs) = input.len().checked_div(rows) else { return };
    let _timed = phase(Phase::WeightGradients);
    let outputs = first_output..first_output + d_weight.len() / inputs;
    let pair = [d_output, input].map(|values| Left::Plain { rows, values });
    weight_gradient(format, &[pair.into()], outputs, d_weight);
}

/// `d_bias += column sums of d_output`.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_bias` is `[out]`.
pub fn linear_backward_bias(d_output: &[f32], d_bias: &mut [f32]) {
    let _timed = phase(Phase::States);
    vectorize(
        #[inline(always)]
        || {
            for row in d_output.chunks_exact(d_bias.len()) {
                for (sum, d) in d_bias.iter_mut().zip(row) {
                    *sum += d;
                }
            }
        },
    );
}

/// `target = matrix^T`, tile by tile so that both sides stay in cache.
///
/// # Shapes
/// `matrix` is `[rows, cols]`, `target` is `[cols, rows]`.
pub fn transpose([rows, cols]: [usize; 2], matrix: &[f32], target: &mut [f32]) {
    const TILE: usize = 16;
    vectorize(
        #[inline(always)]
        || {
            for first_row in (0..rows).step_by(TILE) {
                for first_col in (0..cols).step_by(TILE) {
                    for r in first_row..(first_row + TILE).min(rows) {
                        for c in first_col..(first_col + TILE).min(cols) {
                            target[c * rows + r] = matrix[r * cols + c];
                        }
                    }
                }
            }
        },
    );
}

#[cfg(test)]
use trm_kernels::Fixed;

/// Formats that round, and what products may be off by: shares of the largest number.
#[cfg(test)]
pub(super) const TOLERANCES: [(Format, f32); 3] =
    [(Format::Bf16, 0.01), (Format::Fixed(Fixed::Twelve), 0.002), (Format::Fixed(Fixed::Seven), 0.05)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (rows, inputs, out) = (3, 5, 4);
        let input = numbers(rows * inputs, 1);
        let weight = numbers(out * inputs, 2);
        let bias = numbers(out, 3);
        let pack = |weight: &[f32]| {
            let mut packed = PackedWeight::new(Format::F32);
            packed.pack([out, inputs], weight);
            packed
        };
        let forward = |input: &[f32], weight: &[f32], bias: &[f32]| {
            let mut output = vec![0.0; rows * out];
            linear_forward(input, &pack(weight), bias, &mut output);
            weighted_sum(&output)
        };
        let d_output = weighted_sum(&vec![0.0; rows * out]).1;

        let mut d_input = vec![9.0; input.len()];
        linear_backward_input(rows, &d_output, &pack(&weight), &mut d_input);
        assert_gradient(&input, &d_input, |v| forward(v, &weight, &bias).0);

        let mut d_weight = vec![0.0; weight.len()];
        let (top, bottom) = d_weight.split_at_mut(inputs);
        linear_backward_weight(rows, &input, &d_output, 0, top, Format::F32);
        linear_backward_weight(rows, &input, &d_output, 1, bottom, Format::F32);
        assert_gradient(&weight, &d_weight, |v| forward(&input, v, &bias).0);

        let mut d_bias = vec![0.0; out];
        linear_backward_bias(&d_output, &mut d_bias);
        assert_gradient(&bias, &d_bias, |v| forward(&input, &weight, v).0);
    }

    #[test]
    fn rounded_products_are_nearly_the_f32_products() {
        let (rows, inputs, out) = (7, 33, 70);
        let (input, weight, bias) = (numbers(rows * inputs, 1), numbers(out * inputs, 2), numbers(out, 3));
        let d_output = numbers(rows * out, 4);
        let run = |format: Format| {
            let mut packed = PackedWeight::new(format);
            packed.pack([out, inputs], &weight);
            let (mut output, mut d_input) = (vec![0.0; rows * out], vec![0.0; rows * inputs]);
            let mut d_weight = vec![0.0; 40 * inputs];
            linear_forward(&input, &packed, &bias, &mut output);
            linear_backward_input(rows, &d_output, &packed, &mut d_input);
            linear_backward_weight(rows, &input, &d_output, 0, &mut d_weight, format);
            [output, d_input, d_weight]
        };
        for (format, tolerance) in TOLERANCES {
            for (exact, rounded) in run(Format::F32).iter().zip(&run(format)) {
                let largest = exact.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                for (e, r) in exact.iter().zip(rounded) {
                    assert!((e - r).abs() < tolerance * largest, "{format:?}: {e} and {r}");
                }
            }
        }
    }

    #[test]
    fn ragged_matrices_are_transposed() {
        for (rows, cols) in [(1, 1), (3, 50), (33, 17), (16, 32)] {
            let matrix = numbers(rows * cols, 4);
            let mut target = vec![0.0; rows * cols];
            transpose([rows, cols], &matrix, &mut target);
            assert_eq!(target, trm_kernels::reference::transpose(rows, cols, &matrix));
        }
    }
}
