//! Softmax cross-entropy of one row of logits per cell: `CE = log sum_k e^(o_k) - o_target`.

use crate::timing::{Phase, phase};

/// Sum of the cross-entropies of all rows, in f64.
///
/// # Shapes
/// `logits` is `[rows, classes]`, `targets` is `[rows]` with values below `classes`.
pub fn cross_entropy(logits: &[f32], classes: usize, targets: &[u8]) -> f64 {
    let _timed = phase(Phase::Loss);
    let mut sum = 0.0;
    for (row, target) in logits.chunks_exact(classes).zip(targets) {
        let (largest, total) = log_sum_exp_parts(row);
        sum += f64::from(total.ln() + largest - row[usize::from(*target)]);
    }
    sum
}

/// Replaces the logits by `d_logits = scale * (softmax(logits) - one_hot(target))`.
///
/// # Shapes
/// `logits` is `[rows, classes]`, `targets` is `[rows]` with values below `classes`.
pub fn cross_entropy_backward(logits: &mut [f32], classes: usize, targets: &[u8], scale: f32) {
    let _timed = phase(Phase::Loss);
    for (row, target) in logits.chunks_exact_mut(classes).zip(targets) {
        let (largest, total) = log_sum_exp_parts(row);
        for o in row.iter_mut() {
            *o = scale * ((*o - largest).exp() / total);
        }
        row[usize::from(*target)] -= scale;
    }
}

/// (`m = max o`, `sum e^(o - m)`): the sum cannot overflow.
fn log_sum_exp_parts(row: &[f32]) -> (f32, f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    (largest, row.iter().map(|o| (o - largest).exp()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (classes, targets) = (9, [0, 8, 3, 3]);
        let logits: Vec<f32> = numbers(36, 1).iter().map(|v| 5.0 * v).collect();
        let mut d_logits = logits.clone();
        cross_entropy_backward(&mut d_logits, classes, &targets, 1.0);
        assert_gradient(&logits, &d_logits, |v| cross_entropy(v, classes, &targets));
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let loss = cross_entropy(&[1000.0; 18], 9, &[0, 5]);
        assert!((loss - 2.0 * 9f64.ln()).abs() < 1e-4, "{loss}");
    }
}
