//! `SwiGLU(gate, up) = silu(gate) up` with `silu(x) = x sigmoid(x)`: the nonlinearity between two linear maps.

use trm_kernels::math::{MulAdd, exp_nonpositive};
use trm_kernels::vectorize_fused;

/// `output = silu(gate) up`.
///
/// # Shapes
/// `gate_up` is `[rows, 2 width]`, the gates of a row before what they gate; `output` is `[rows, width]`.
///
/// # Source
/// Shazeer, "GLU Variants Improve Transformer", <https://arxiv.org/abs/2002.05202>
pub fn swiglu_forward(gate_up: &[f32], width: usize, output: &mut [f32]) {
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            for (row, output) in gate_up.chunks_exact(2 * width).zip(output.chunks_exact_mut(width)) {
                let (gates, ups) = row.split_at(width);
                for ((out, x), up) in output.iter_mut().zip(gates).zip(ups) {
                    *out = x * sigmoid(*x, mul_add) * up;
                }
            }
        },
    );
}

/// Replaces gates and ups by their gradients: `d_up = silu(x) d`, `d_x = sigmoid(x) (1 + x (1 - sigmoid(x))) up d`.
///
/// # Shapes
/// `d_output` is `[rows, width]`, `gate_up` is `[rows, 2 width]`, laid out as for [`swiglu_forward`].
pub fn swiglu_backward(d_output: &[f32], width: usize, gate_up: &mut [f32]) {
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            for (row, d_output) in gate_up.chunks_exact_mut(2 * width).zip(d_output.chunks_exact(width)) {
                let (gates, ups) = row.split_at_mut(width);
                for ((d, x), up) in d_output.iter().zip(gates).zip(ups) {
                    let s = sigmoid(*x, mul_add);
                    let d_gate = s * (1.0 + *x * (1.0 - s)) * *up * d;
                    *up = *x * s * d;
                    *x = d_gate;
                }
            }
        },
    );
}

/// `1 / (1 + e^-x)`, by the exponential that cannot overflow.
#[inline(always)]
fn sigmoid(x: f32, mul_add: MulAdd) -> f32 {
    let e = exp_nonpositive(-x.abs(), mul_add);
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (rows, width) = (3, 21);
        let gate_up: Vec<f32> = numbers(rows * 2 * width, 1).iter().map(|v| 4.0 * v).collect();
        let forward = |gate_up: &[f32]| {
            let mut output = vec![0.0; rows * width];
            swiglu_forward(gate_up, width, &mut output);
            weighted_sum(&output)
        };
        let mut d_gate_up = gate_up.clone();
        swiglu_backward(&forward(&gate_up).1, width, &mut d_gate_up);
        assert_gradient(&gate_up, &d_gate_up, |v| forward(v).0);
    }

    #[test]
    fn far_gates_are_shut_or_open() {
        let mut output = [0.0; 2];
        swiglu_forward(&[-1000.0, 1000.0, 3.0, 3.0], 2, &mut output);
        assert!(output[0].abs() < 1e-30 && output[1] == 3000.0, "{output:?}");
    }
}
