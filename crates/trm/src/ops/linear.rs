//! `output = input W^T + b`, with the weight laid out as PyTorch's `nn.Linear` has it, `[out, in]`.
//!
//! The recursion multiplies by the same weights many times between two updates, so they are packed once after each:
//! for both directions.

use super::InParts;
use crate::parallel::for_each_chunk;
use crate::timing::{Phase, phase};
use std::ops::Range;
use trm_kernels::{
    F32Panels, Level, Overwrite, PANEL, PackedRows, Panels, QuantisedPanels, Whole, WholePanels, WholeRows,
    level, matmul_bf16, matmul_lhs_transposed, matmul_panels, matmul_quantised, matmul_whole,
    row_matmul_bf16, row_matmul_quantised, vectorize, weight_gradient_bf16, weight_gradient_whole,
};

/// Number format of the operands of matrix products; sums, weights, states and norms are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 24 bits of mantissa.
    F32,
    /// bfloat16: 8 bits of mantissa.
    Bf16,
    /// Whole numbers, in steps for each row.
    Whole(Whole),
}

impl Format {
    /// bfloat16 where the CPU multiplies it natively, whole numbers where it has AVX2 and nothing better, else f32.
    pub fn fastest() -> Self {
        match level() {
            Level::Amx | Level::Avx512Bf16 => Self::Bf16,
            Level::Avx2 => Self::Whole(Whole::Int16),
            _ => Self::F32,
        }
    }

    /// The format of a product with few outputs: f32, where rounding and packing would cost more than they save.
    pub fn for_outputs(self, outputs: usize) -> Self {
        const FEW: usize = 16;
        if outputs < FEW { Self::F32 } else { self }
    }
}

/// A weight `[out, in]` as products read it.
#[derive(Clone, Debug)]
pub enum PackedWeight {
    /// For the forward product, `[in, out]`, and for the backward product, `[out, in]`.
    F32(F32Panels, F32Panels),
    /// The same in bfloat16.
    Bf16(Panels, Panels),
    /// The same in whole numbers.
    Whole(WholePanels, WholePanels),
    /// Whole numbers for the forward product, `[in, out]`, and what inputs are rounded to multiples of, if that is fixed.
    /// They take part in inference only.
    Quantised(QuantisedPanels, Option<f32>),
}

impl PackedWeight {
    /// Nothing packed yet.
    pub fn new(format: Format) -> Self {
        match format {
            Format::F32 => Self::F32(F32Panels::default(), F32Panels::default()),
            Format::Bf16 => Self::Bf16(Panels::default(), Panels::default()),
            Format::Whole(whole) => Self::Whole(WholePanels::new(whole), WholePanels::new(whole)),
        }
    }

    /// Packs a weight.
    ///
    /// # Shapes
    /// `weight` is `[out, in]`.
    pub fn pack(&mut self, [out, inputs]: [usize; 2], weight: &[f32]) {
        match self {
            Self::F32(forward, backward) => {
                forward.pack_transposed([inputs, out], weight);
                backward.pack([out, inputs], weight);
            }
            Self::Bf16(forward, backward) => {
                forward.pack_transposed([inputs, out], weight);
                backward.pack([out, inputs], weight);
            }
            Self::Whole(forward, backward) => {
                forward.pack_transposed([inputs, out], weight);
                backward.pack([out, inputs], weight);
            }
            // Its whole numbers were chosen once, by `QuantisedWeight`.
            Self::Quantised(..) => {}
        }
    }

    /// How what it is multiplied by can be made: as a whole, if the largest number of each row says how it is rounded.
    pub fn inputs_in_parts(&self) -> InParts {
        if matches!(self, Self::Quantised(_, None)) { InParts::No } else { InParts::Yes }
    }
}

/// `output = input W^T + b`.
///
/// # Shapes
/// `input` is `[rows, in]`, `bias` is `[out]`, `output` is `[rows, out]`.
pub fn linear_forward(input: &[f32], weight: &PackedWeight, bias: &[f32], output: &mut [f32]) {
    let _timed = phase(Phase::ForwardProducts);
    let out = bias.len();
    let rows = output.len() / out;
    for row in output.chunks_exact_mut(out) {
        row.copy_from_slice(bias);
    }
    product(rows, input, weight, output, Overwrite::No);
}

/// `output = input W^T`, or added to it.
///
/// # Shapes
/// As for [`linear_forward`].
pub fn product(rows: usize, input: &[f32], weight: &PackedWeight, output: &mut [f32], overwrite: Overwrite) {
    let _timed = phase(Phase::ForwardProducts);
    match rows {
        0 => return,
        1 => return row_product(input, weight, output, overwrite),
        _ => {}
    }
    match weight {
        PackedWeight::F32(forward, _) => {
            let out = output.len() / rows;
            matmul_panels(rows, input, (forward, 0..out), output, overwrite);
        }
        PackedWeight::Bf16(forward, _) => matmul_bf16(rows, input, forward, output, overwrite),
        PackedWeight::Whole(forward, _) => {
            matmul_whole(rows, input, (forward, 0..forward.cols()), output, overwrite.into());
        }
        PackedWeight::Quantised(forward, step) => {
            matmul_quantised(rows, input, *step, forward, output, overwrite);
        }
    }
}

/// The product of one row: it waits for the weights, which come faster to several threads. A panel is a piece of work,
/// whatever the number of threads.
fn row_product(input: &[f32], weight: &PackedWeight, output: &mut [f32], overwrite: Overwrite) {
    for_each_chunk(output, PANEL, |i, output| match weight {
        PackedWeight::F32(forward, _) => {
            let columns = i * PANEL..i * PANEL + output.len();
            f32_row_product(input, (forward, columns), output, overwrite);
        }
        PackedWeight::Bf16(forward, _) => row_matmul_bf16(input, forward, i * PANEL, output, overwrite),
        PackedWeight::Whole(forward, _) => {
            let columns = i * PANEL..i * PANEL + output.len();
            matmul_whole(1, input, (forward, columns), output, overwrite.into());
        }
        PackedWeight::Quantised(forward, step) => {
            row_matmul_quantised(input, *step, (forward, i * PANEL), output, overwrite);
        }
    });
}

/// Some columns of the product of one row, as two equal rows: for a single one `gemm` sums in another order, and what is
/// predicted for a puzzle would depend on whether others come along. It is quicker too.
fn f32_row_product(
    input: &[f32],
    (weight, columns): (&F32Panels, Range<usize>),
    output: &mut [f32],
    overwrite: Overwrite,
) {
    let mut both = output.repeat(2);
    matmul_panels(2, &input.repeat(2), (weight, columns), &mut both, overwrite);
    output.copy_from_slice(&both[..output.len()]);
}

/// `d_input = d_output W`; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_input` is `[rows, in]`.
///
/// # Panics
/// If the weight is quantised.
pub fn linear_backward_input(rows: usize, d_output: &[f32], weight: &PackedWeight, d_input: &mut [f32]) {
    let _timed = phase(Phase::BackwardProducts);
    if rows == 0 {
        return;
    }
    match weight {
        PackedWeight::F32(_, backward) => {
            let inputs = d_input.len() / rows;
            matmul_panels(rows, d_output, (backward, 0..inputs), d_input, Overwrite::Yes);
        }
        PackedWeight::Bf16(_, backward) => matmul_bf16(rows, d_output, backward, d_input, Overwrite::Yes),
        PackedWeight::Whole(_, backward) => {
            matmul_whole(rows, d_output, (backward, 0..backward.cols()), d_input, Overwrite::Yes.into());
        }
        PackedWeight::Quantised(..) => panic!("quantised weights take part in inference only"),
    }
}

/// `d_weight += d_output^T input` for the rows `first_output ..` of the weight that `d_weight` holds.
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
    if rows == 0 {
        return;
    }
    let _timed = phase(Phase::WeightGradients);
    let (inputs, out) = (input.len() / rows, d_output.len() / rows);
    let outputs = d_weight.len() / inputs;
    match format {
        Format::F32 => {
            let (shape, columns) = ([outputs, rows, inputs], [out, first_output]);
            matmul_lhs_transposed(shape, d_output, columns, input, d_weight, Overwrite::No);
        }
        Format::Bf16 => {
            let pack = |width: usize, values: &[f32]| {
                let mut packed = PackedRows::default();
                packed.pack([rows, width], values);
                packed
            };
            let pair = (&pack(out, d_output), &pack(inputs, input));
            weight_gradient_bf16(&[pair], first_output..first_output + outputs, d_weight);
        }
        Format::Whole(whole) => {
            let round = |width: usize, values: &[f32]| {
                let mut rounded = WholeRows::new(whole);
                rounded.pack([rows, width], values);
                rounded
            };
            let pair = (&round(out, d_output), &round(inputs, input));
            weight_gradient_whole(&[pair], first_output..first_output + outputs, d_weight);
        }
    }
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

/// Formats that round, and what products may be off by: shares of the largest number.
#[cfg(test)]
pub(super) const TOLERANCES: [(Format, f32); 3] =
    [(Format::Bf16, 0.01), (Format::Whole(Whole::Int16), 0.002), (Format::Whole(Whole::Int8), 0.05)];

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
