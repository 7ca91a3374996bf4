//! `p_k = e^(o_k) / sum_j e^(o_j)` of each row of logits.

use crate::sudoku::DIGITS;

/// Replaces each row of logits by its softmax.
///
/// # Shapes
/// `rows` is `[rows, classes]`.
pub fn softmax_rows(rows: &mut [f32], classes: usize) {
    for row in rows.chunks_exact_mut(classes) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|o| *o = (*o - largest).exp());
        let total: f32 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= total);
    }
}

/// The softmax of the nine logits of a cell.
///
/// # Shapes
/// `logits` has [`DIGITS`] values.
pub fn softmax(logits: &[f32]) -> [f32; DIGITS] {
    let mut p: [f32; DIGITS] = logits.try_into().expect("a logit for each digit");
    softmax_rows(&mut p, DIGITS);
    p
}

/// Replaces the gradient of the probabilities p by the gradient of the logits o: `d_o = p (d_p - sum of p d_p)`.
///
/// # Shapes
/// `probabilities` and the gradient are `[rows, classes]`.
pub fn softmax_backward(probabilities: &[f32], classes: usize, gradient: &mut [f32]) {
    for (p, d) in probabilities.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes)) {
        let mean: f32 = p.iter().zip(&*d).map(|(p, d)| p * d).sum();
        d.iter_mut().zip(p).for_each(|(d, p)| *d = p * (*d - mean));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits: Vec<f32> = numbers(27, 1).iter().map(|v| 3.0 * v).collect();
        let forward = |logits: &[f32]| {
            let mut p = logits.to_vec();
            softmax_rows(&mut p, 9);
            p
        };
        let p = forward(&logits);
        let mut gradient = weighted_sum(&p).1;
        softmax_backward(&p, 9, &mut gradient);
        assert_gradient(&logits, &gradient, |v| weighted_sum(&forward(v)).0);
    }
}
