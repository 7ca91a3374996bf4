//! `GELU(x) = x Phi(x)`, the exact form with the Gaussian integral (PyTorch's `nn.GELU()`).

use super::Format;
use crate::timing::{Phase, phase};
use trm_kernels::math::{normal, normal_integral_for_bf16, normal_integral_for_int8};
use trm_kernels::{vectorize, vectorize_fused};

/// Replaces each input by `GELU(input)`. The absolute error depends on `next`, the format that the result is rounded
/// to afterwards:
///
/// - f32: below 2e-7 times the input.
/// - bfloat16 and fixed-point numbers: below 4e-6 for inputs below 8. Rounding to bfloat16 moves numbers near 1 by up to 4e-3.
/// - quantised: below 2e-4 for inputs below 8. Rounding has 127 steps up to the largest number.
pub fn gelu(values: &mut [f32], next: Format) {
    let _timed = phase(Phase::Activations);
    // Loops spelt out: a closure in one of them need not become part of what `vectorize_fused` compiles.
    vectorize_fused(
        #[inline(always)]
        |mul_add| match next {
            Format::F32 => {
                for x in values {
                    *x *= normal(*x, mul_add).0;
                }
            }
            Format::Bf16 | Format::Fixed(_) => {
                for x in values {
                    *x *= normal_integral_for_bf16(*x, mul_add);
                }
            }
            Format::Quantised => {
                for x in values {
                    *x *= normal_integral_for_int8(*x, mul_add);
                }
            }
        },
    );
}

/// `output = GELU(input)`; the input is replaced by the slope there, `Phi(x) + x phi(x)`.
///
/// # Shapes
/// Both slices have one length.
pub fn gelu_forward(input_to_slope: &mut [f32], output: &mut [f32]) {
    let _timed = phase(Phase::Activations);
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            for (x, out) in input_to_slope.iter_mut().zip(output) {
                let (integral, density) = normal(*x, mul_add);
                *out = *x * integral;
                *x = integral + *x * density;
            }
        },
    );
}

/// Replaces the slope by `d_input = slope * d_output`.
pub fn gelu_backward(d_output: &[f32], slope_to_d_input: &mut [f32]) {
    let _timed = phase(Phase::Activations);
    vectorize(
        #[inline(always)]
        || {
            for (slope, d) in slope_to_d_input.iter_mut().zip(d_output) {
                *slope *= d;
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
        let input: Vec<f32> = numbers(67, 1).iter().map(|v| 4.0 * v).collect();
        let forward = |input: &[f32]| {
            let mut output = vec![0.0; input.len()];
            gelu_forward(&mut input.to_vec(), &mut output);
            weighted_sum(&output)
        };
        let mut d_input = input.clone();
        gelu_forward(&mut d_input, &mut vec![0.0; input.len()]);
        gelu_backward(&forward(&input).1, &mut d_input);
        assert_gradient(&input, &d_input, |v| forward(v).0);
    }
}
