//! Layer normalisation over the last dimension: `output = gain * (x - mean) / sqrt(variance + eps) + bias`.

use crate::timing::{Phase, phase};
use trm_kernels::{math, vectorize};

/// Added to the variance; PyTorch's default.
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// Normalises each row.
///
/// # Shapes
/// `gain` and `bias` are `[d]`; `input`, `normalised` (before gain and bias, kept for backward) and `output` are
/// `[rows, d]`; `inv_std` (kept for backward) is `[rows]`. What is kept may be empty, and is not kept then.
///
/// # Source
/// <https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html>
pub fn layer_norm_forward(
    input: &[f32],
    gain: &[f32],
    bias: &[f32],
    normalised: &mut [f32],
    inv_std: &mut [f32],
    output: &mut [f32],
) {
    let _timed = phase(Phase::Norms);
    let d = gain.len();
    vectorize(
        #[inline(always)]
        || {
            let mut kept = normalised.chunks_exact_mut(d).zip(inv_std);
            for (x, output) in input.chunks_exact(d).zip(output.chunks_exact_mut(d)) {
                let mean = math::sum(x) / d as f32;
                for (n, x) in output.iter_mut().zip(x) {
                    *n = x - mean;
                }
                let variance = math::dot(output, output) / d as f32;
                let inv_std = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
                if let Some((normalised, kept)) = kept.next() {
                    *kept = inv_std;
                    for (n, x) in normalised.iter_mut().zip(&*output) {
                        *n = inv_std * x;
                    }
                }
                for (i, n) in output.iter_mut().enumerate() {
                    *n = inv_std * *n * gain[i] + bias[i];
                }
            }
        },
    );
}

/// Adds the gradients of input, gain and bias.
///
/// With `g = gain * d_output` and `n` the normalised row: `d_x = (g - mean(g) - n mean(g n)) / std`.
///
/// # Shapes
/// `d_output` (overwritten by `g`), `normalised`, `d_input` are `[rows, d]`; `inv_std` is `[rows]`; `gain`,
/// `d_gain`, `d_bias` are `[d]`.
pub fn layer_norm_backward(
    d_output: &mut [f32],
    normalised: &[f32],
    inv_std: &[f32],
    gain: &[f32],
    d_input: &mut [f32],
    [d_gain, d_bias]: [&mut [f32]; 2],
) {
    let _timed = phase(Phase::Norms);
    let d = gain.len();
    vectorize(
        #[inline(always)]
        || {
            let rows = d_output.chunks_exact_mut(d).zip(normalised.chunks_exact(d)).zip(inv_std);
            for (((g, n), inv_std), d_input) in rows.zip(d_input.chunks_exact_mut(d)) {
                for i in 0..d {
                    d_gain[i] += g[i] * n[i];
                    d_bias[i] += g[i];
                    g[i] *= gain[i];
                }
                let mean = math::sum(g) / d as f32;
                let mean_with_n = math::dot(g, n) / d as f32;
                for i in 0..d {
                    d_input[i] += inv_std * (g[i] - mean - n[i] * mean_with_n);
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
        let (rows, d) = (3, 37);
        let input = numbers(rows * d, 1);
        let (gain, bias) = (numbers(d, 2), numbers(d, 3));
        let run = |input: &[f32], gain: &[f32], bias: &[f32]| {
            let (mut normalised, mut inv_std) = (vec![0.0; rows * d], vec![0.0; rows]);
            let mut output = vec![0.0; rows * d];
            layer_norm_forward(input, gain, bias, &mut normalised, &mut inv_std, &mut output);
            (weighted_sum(&output), normalised, inv_std)
        };
        let ((_, mut d_output), normalised, inv_std) = run(&input, &gain, &bias);
        let (mut d_input, mut d_gain, mut d_bias) = (vec![0.0; rows * d], vec![0.0; d], vec![0.0; d]);
        layer_norm_backward(
            &mut d_output,
            &normalised,
            &inv_std,
            &gain,
            &mut d_input,
            [&mut d_gain, &mut d_bias],
        );
        assert_gradient(&input, &d_input, |v| run(v, &gain, &bias).0.0);
        assert_gradient(&gain, &d_gain, |v| run(&input, v, &bias).0.0);
        assert_gradient(&bias, &d_bias, |v| run(&input, &gain, v).0.0);
    }

    #[test]
    fn a_row_comes_out_with_mean_zero_and_variance_one() {
        let d = 100;
        let input: Vec<f32> = numbers(d, 5).iter().map(|v| 3.0 * v + 7.0).collect();
        let (mut normalised, mut output) = (vec![0.0; d], vec![0.0; d]);
        layer_norm_forward(&input, &vec![1.0; d], &vec![0.0; d], &mut normalised, &mut [0.0], &mut output);
        let mean = output.iter().sum::<f32>() / d as f32;
        let variance = output.iter().map(|v| v * v).sum::<f32>() / d as f32;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-4, "mean {mean}, variance {variance}");
        assert_eq!(output, normalised);
    }
}
