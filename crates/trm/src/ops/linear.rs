//! `output = input W^T + b`, with the weight laid out as PyTorch's `nn.Linear` has it, `[out, in]`.
//!
//! The forward pass takes the weight transposed: the recursion multiplies by the same weights many times between
//! two updates, and in this layout the product needs no packing.

use trm_kernels::{Overwrite, matmul, matmul_lhs_transposed, vectorize};

/// `output = input W^T + b`.
///
/// # Shapes
/// `input` is `[rows, in]`, `weight_t` is `[in, out]`, `bias` is `[out]`, `output` is `[rows, out]`.
pub fn linear_forward(input: &[f32], weight_t: &[f32], bias: &[f32], output: &mut [f32]) {
    let out = bias.len();
    let rows = output.len() / out;
    for row in output.chunks_exact_mut(out) {
        row.copy_from_slice(bias);
    }
    matmul([rows, weight_t.len() / out, out], input, weight_t, output, Overwrite::No);
}

/// `d_input = d_output W`; overwrites.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `weight` is `[out, in]`, `d_input` is `[rows, in]`.
pub fn linear_backward_input(rows: usize, d_output: &[f32], weight: &[f32], d_input: &mut [f32]) {
    let (out, inputs) = (d_output.len() / rows, d_input.len() / rows);
    matmul([rows, out, inputs], d_output, weight, d_input, Overwrite::Yes);
}

/// `d_weight += d_output^T input` for the rows `first_output ..` of the weight that `d_weight` holds.
///
/// # Shapes
/// `input` is `[rows, in]`, `d_output` is `[rows, out]`, `d_weight` is `[some of out, in]`.
pub fn linear_backward_weight(
    rows: usize,
    input: &[f32],
    d_output: &[f32],
    first_output: usize,
    d_weight: &mut [f32],
) {
    let (inputs, out) = (input.len() / rows, d_output.len() / rows);
    let panel = [d_weight.len() / inputs, rows, inputs];
    matmul_lhs_transposed(panel, d_output, [out, first_output], input, d_weight, Overwrite::No);
}

/// `d_bias += column sums of d_output`.
///
/// # Shapes
/// `d_output` is `[rows, out]`, `d_bias` is `[out]`.
pub fn linear_backward_bias(d_output: &[f32], d_bias: &mut [f32]) {
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
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (rows, inputs, out) = (3, 5, 4);
        let input = numbers(rows * inputs, 1);
        let weight = numbers(out * inputs, 2);
        let bias = numbers(out, 3);
        let forward = |input: &[f32], weight: &[f32], bias: &[f32]| {
            let mut weight_t = vec![0.0; weight.len()];
            transpose([out, inputs], weight, &mut weight_t);
            let mut output = vec![0.0; rows * out];
            linear_forward(input, &weight_t, bias, &mut output);
            weighted_sum(&output)
        };
        let d_output = weighted_sum(&vec![0.0; rows * out]).1;

        let mut d_input = vec![9.0; input.len()];
        linear_backward_input(rows, &d_output, &weight, &mut d_input);
        assert_gradient(&input, &d_input, |v| forward(v, &weight, &bias).0);

        let mut d_weight = vec![0.0; weight.len()];
        let (top, bottom) = d_weight.split_at_mut(inputs);
        linear_backward_weight(rows, &input, &d_output, 0, top);
        linear_backward_weight(rows, &input, &d_output, 1, bottom);
        assert_gradient(&weight, &d_weight, |v| forward(&input, v, &bias).0);

        let mut d_bias = vec![0.0; out];
        linear_backward_bias(&d_output, &mut d_bias);
        assert_gradient(&bias, &d_bias, |v| forward(&input, &weight, v).0);
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
