//! The linear projection of one-hot cells: `x_emb = W_in x + b_in` where x has a single 1 per cell.
//!
//! The product is a sum of one row of `W_in^T` per cell, so x is never written out.

use super::add_scaled;

/// Channels of a cell: blank and the digits 1 to 9.
pub const CHANNELS: usize = 10;

/// `output = W x + b` for each row of cells.
///
/// # Shapes
/// `cells` is `[rows, n]` with values below 10, `weight_t` is `[n * 10, d]`, `bias` is `[d]`, `output` is
/// `[rows, d]`.
pub fn one_hot_linear_forward(cells: &[u8], weight_t: &[f32], bias: &[f32], output: &mut [f32]) {
    let d = bias.len();
    let n = weight_t.len() / (CHANNELS * d);
    for (cells, output) in cells.chunks_exact(n).zip(output.chunks_exact_mut(d)) {
        output.copy_from_slice(bias);
        for (i, digit) in cells.iter().enumerate() {
            let channel = i * CHANNELS + usize::from(*digit);
            add_scaled(output, 1.0, &weight_t[channel * d..(channel + 1) * d]);
        }
    }
}

/// Adds to the gradient of one cell's ten rows of `W^T`.
///
/// # Shapes
/// `cells` is `[rows, n]`, of which column `cell` is used; `d_output` is `[rows, d]`, `d_weight_t` is `[10, d]`.
pub fn one_hot_linear_backward_weight(
    cells: &[u8],
    [n, cell]: [usize; 2],
    d_output: &[f32],
    d_weight_t: &mut [f32],
) {
    let d = d_weight_t.len() / CHANNELS;
    for (cells, d_output) in cells.chunks_exact(n).zip(d_output.chunks_exact(d)) {
        let channel = usize::from(cells[cell]);
        add_scaled(&mut d_weight_t[channel * d..(channel + 1) * d], 1.0, d_output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};
    use crate::ops::{Format, PackedWeight, linear_forward, transpose};

    #[test]
    fn it_is_the_linear_map_of_the_one_hot_input() {
        let (rows, n, d) = (2, 3, 7);
        let cells = [0, 9, 4, 1, 1, 0];
        let (weight_t, bias) = (numbers(n * CHANNELS * d, 1), numbers(d, 2));
        let mut one_hot = vec![0.0; rows * n * CHANNELS];
        for (i, digit) in cells.iter().enumerate() {
            one_hot[i * CHANNELS + usize::from(*digit)] = 1.0;
        }
        let (mut dense, mut sparse) = (vec![0.0; rows * d], vec![0.0; rows * d]);
        let mut weight = vec![0.0; weight_t.len()];
        transpose([n * CHANNELS, d], &weight_t, &mut weight);
        let mut packed = PackedWeight::new(Format::F32);
        packed.pack([d, n * CHANNELS], &weight);
        linear_forward(&one_hot, &packed, &bias, &mut dense);
        one_hot_linear_forward(&cells, &weight_t, &bias, &mut sparse);
        for (a, b) in dense.iter().zip(&sparse) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (rows, n, d) = (3, 2, 5);
        let cells = [0, 9, 4, 9, 4, 0];
        let (weight_t, bias) = (numbers(n * CHANNELS * d, 1), numbers(d, 2));
        let forward = |weight_t: &[f32]| {
            let mut output = vec![0.0; rows * d];
            one_hot_linear_forward(&cells, weight_t, &bias, &mut output);
            weighted_sum(&output)
        };
        let d_output = forward(&weight_t).1;
        let mut d_weight_t = vec![0.0; weight_t.len()];
        for (cell, part) in d_weight_t.chunks_exact_mut(CHANNELS * d).enumerate() {
            one_hot_linear_backward_weight(&cells, [n, cell], &d_output, part);
        }
        assert_gradient(&weight_t, &d_weight_t, |v| forward(v).0);
    }
}
