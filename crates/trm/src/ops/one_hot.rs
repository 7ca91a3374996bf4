//! The linear projection of one-hot inputs: `x_emb = W_in x + b_in` where x is some groups of channels with a single 1
//! in each: the 10 channels of each of 81 cells.
//!
//! The product is a sum of one row of `W_in^T` per group, so x is never written out.

use super::add_scaled;
use crate::timing::{Phase, phase};

/// `output = W x + b` for each row of inputs.
///
/// # Shapes
/// `inputs` is `[rows, groups]` with values below `channels`: where the 1 is. `weight_t` is `[groups * channels, d]`,
/// `bias` is `[d]`, `output` is `[rows, d]`.
pub fn one_hot_linear_forward(
    inputs: &[u8],
    channels: usize,
    weight_t: &[f32],
    bias: &[f32],
    output: &mut [f32],
) {
    let _timed = phase(Phase::Input);
    let d = bias.len();
    let groups = weight_t.len() / (channels * d);
    for (inputs, output) in inputs.chunks_exact(groups).zip(output.chunks_exact_mut(d)) {
        output.copy_from_slice(bias);
        for (group, input) in inputs.iter().enumerate() {
            let channel = group * channels + usize::from(*input);
            add_scaled(output, 1.0, &weight_t[channel * d..(channel + 1) * d]);
        }
    }
}

/// Adds to the gradient of one group's rows of `W^T`.
///
/// # Shapes
/// `inputs` is `[rows, groups]`, of which column `group` is used; `d_output` is `[rows, d]`, `d_weight_t` is
/// `[channels, d]`.
pub fn one_hot_linear_backward_weight(
    inputs: &[u8],
    [groups, group]: [usize; 2],
    d_output: &[f32],
    d: usize,
    d_weight_t: &mut [f32],
) {
    let _timed = phase(Phase::Input);
    for (inputs, d_output) in inputs.chunks_exact(groups).zip(d_output.chunks_exact(d)) {
        let channel = usize::from(inputs[group]);
        add_scaled(&mut d_weight_t[channel * d..(channel + 1) * d], 1.0, d_output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};
    use crate::ops::{Format, PackedWeight, linear_forward, transpose};

    const CHANNELS: usize = 10;

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
        one_hot_linear_forward(&cells, CHANNELS, &weight_t, &bias, &mut sparse);
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
            one_hot_linear_forward(&cells, CHANNELS, weight_t, &bias, &mut output);
            weighted_sum(&output)
        };
        let d_output = forward(&weight_t).1;
        let mut d_weight_t = vec![0.0; weight_t.len()];
        for (cell, part) in d_weight_t.chunks_exact_mut(CHANNELS * d).enumerate() {
            one_hot_linear_backward_weight(&cells, [n, cell], &d_output, d, part);
        }
        assert_gradient(&weight_t, &d_weight_t, |v| forward(v).0);
    }
}
