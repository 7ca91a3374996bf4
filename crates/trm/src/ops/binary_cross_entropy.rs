//! Binary cross-entropy of a logit: `BCE(q) = ln(1 + e^q) - target q`.

/// `BCE(q)`.
pub fn binary_cross_entropy(logit: f32, target: bool) -> f64 {
    let q = f64::from(logit);
    q.max(0.0) + (-q.abs()).exp().ln_1p() - if target { q } else { 0.0 }
}

/// Gradient of the binary cross-entropy by the logit q: `sigmoid(q) - target`.
pub fn binary_cross_entropy_backward(logit: f32, target: bool) -> f32 {
    1.0 / (1.0 + (-logit).exp()) - f32::from(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::assert_gradient;

    #[test]
    fn gradients_agree_with_finite_differences() {
        for target in [false, true] {
            for logit in [-5.0, -0.3, 0.0, 2.0] {
                let gradient = binary_cross_entropy_backward(logit, target);
                assert_gradient(&[logit], &[gradient], |v| binary_cross_entropy(v[0], target));
            }
        }
    }

    #[test]
    fn far_logits_cost_their_size_or_nothing() {
        assert_eq!([binary_cross_entropy(1e4, false), binary_cross_entropy(1e4, true)], [1e4, 0.0]);
        assert_eq!([-1e4, 1e4].map(|q| binary_cross_entropy_backward(q, false)), [0.0, 1.0]);
    }
}
