//! Stablemax cross-entropy: `-ln(s(o_target) / sum_k s(o_k))` with `s(o) = o + 1` from 0 on and `1 / (1 - o)` below.
//!
//! Softmax with s in place of the exponential: large logits cannot swallow the others in rounding. Sums are f64, as in
//! the paper's program.

/// Sum of the stablemax cross-entropies of all rows.
///
/// # Shapes
/// `logits` is `[rows, classes]`, `targets` is `[rows]` with values below `classes`.
///
/// # Source
/// Prieto et al., "Grokking at the Edge of Numerical Stability", <https://arxiv.org/abs/2501.04697>
pub fn stablemax_cross_entropy(logits: &[f32], classes: usize, targets: &[u8]) -> f64 {
    let rows = logits.chunks_exact(classes).zip(targets);
    rows.map(|(row, target)| total(row).ln() - s(row[usize::from(*target)]).ln()).sum()
}

/// Replaces the logits by the gradient of `scale` times the sum of the stablemax cross-entropies:
/// `scale s'(o_k) (1 / sum s - [k = target] / s(o_k))`.
///
/// # Shapes
/// `logits` is `[rows, classes]`, `targets` is `[rows]` with values below `classes`.
pub fn stablemax_cross_entropy_backward(logits: &mut [f32], classes: usize, targets: &[u8], scale: f32) {
    for (row, target) in logits.chunks_exact_mut(classes).zip(targets) {
        let inv_total = 1.0 / total(row);
        for (k, o) in row.iter_mut().enumerate() {
            let hit = if k == usize::from(*target) { 1.0 / s(*o) } else { 0.0 };
            *o = (f64::from(scale) * slope(*o) * (inv_total - hit)) as f32;
        }
    }
}

/// `ln s(o)` of a logit o. The softmax of these values is the stablemax of the logits.
pub fn log_stable(logit: f32) -> f32 {
    s(logit).ln() as f32
}

fn s(o: f32) -> f64 {
    let o = f64::from(o);
    if o < 0.0 { 1.0 / (1.0 - o) } else { o + 1.0 }
}

fn slope(o: f32) -> f64 {
    if o < 0.0 { s(o) * s(o) } else { 1.0 }
}

fn total(row: &[f32]) -> f64 {
    row.iter().map(|o| s(*o)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (classes, targets) = (11, [0, 10, 3, 3]);
        let logits: Vec<f32> = numbers(44, 1).iter().map(|v| 5.0 * v).collect();
        let mut d_logits = logits.clone();
        stablemax_cross_entropy_backward(&mut d_logits, classes, &targets, 1.0);
        assert_gradient(&logits, &d_logits, |v| stablemax_cross_entropy(v, classes, &targets));
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let loss = stablemax_cross_entropy(&[-1e30; 22], 11, &[0, 5]);
        assert!((loss - 2.0 * 11f64.ln()).abs() < 1e-12, "{loss}");
    }
}
