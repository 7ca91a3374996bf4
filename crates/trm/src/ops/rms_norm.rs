//! Root-mean-square normalisation over the last dimension, without gain: `output = x / sqrt(mean(x^2) + eps)`.

use crate::timing::{Phase, phase};
use trm_kernels::{math, vectorize};

/// Added to the mean square.
pub const RMS_NORM_EPS: f32 = 1e-5;

/// Normalises each row in place.
///
/// # Shapes
/// `rows` is `[rows, d]`; `inv_rms` (kept for backward) is `[rows]`.
///
/// # Source
/// Zhang and Sennrich, "Root Mean Square Layer Normalization", equation 4; <https://arxiv.org/abs/1910.07467>
pub fn rms_norm_forward(d: usize, rows: &mut [f32], inv_rms: &mut [f32]) {
    let _timed = phase(Phase::Norms);
    vectorize(
        #[inline(always)]
        || {
            for (row, inv_rms) in rows.chunks_exact_mut(d).zip(inv_rms) {
                *inv_rms = 1.0 / (math::dot(row, row) / d as f32 + RMS_NORM_EPS).sqrt();
                row.iter_mut().for_each(|value| *value *= *inv_rms);
            }
        },
    );
}

/// Turns the gradient of the normalised rows into the gradient of the rows before, in place.
///
/// With `n` a normalised row and `g` its gradient: `d_x = (g - n mean(g n)) / rms`.
///
/// # Shapes
/// `gradient` and `normalised` are `[rows, d]`; `inv_rms` is `[rows]`.
pub fn rms_norm_backward(d: usize, gradient: &mut [f32], normalised: &[f32], inv_rms: &[f32]) {
    let _timed = phase(Phase::Norms);
    vectorize(
        #[inline(always)]
        || {
            let rows = gradient.chunks_exact_mut(d).zip(normalised.chunks_exact(d));
            for ((g, n), inv_rms) in rows.zip(inv_rms) {
                let mean = math::dot(g, n) / d as f32;
                for (g, n) in g.iter_mut().zip(n) {
                    *g = (*g - n * mean) * inv_rms;
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
    fn gradient_agrees_with_finite_differences() {
        let (rows, d) = (3, 19);
        let input = numbers(rows * d, 1);
        let forward = |input: &[f32]| {
            let (mut output, mut inv_rms) = (input.to_vec(), vec![0.0; rows]);
            rms_norm_forward(d, &mut output, &mut inv_rms);
            (output, inv_rms)
        };
        let (normalised, inv_rms) = forward(&input);
        for row in normalised.chunks_exact(d) {
            let mean_square = row.iter().map(|v| v * v).sum::<f32>() / d as f32;
            assert!((mean_square - 1.0).abs() < 1e-3);
        }
        let mut gradient = weighted_sum(&normalised).1;
        rms_norm_backward(d, &mut gradient, &normalised, &inv_rms);
        assert_gradient(&input, &gradient, |v| weighted_sum(&forward(v).0).0);
    }
}
