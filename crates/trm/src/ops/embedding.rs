//! Token embedding: each token picks a row of the weight, `output = scale W[token]`.

use super::add_scaled;

/// `output = scale W[token]`.
///
/// # Shapes
/// `weight` is `[vocabulary, d]`, `tokens` is `[rows]` with values below the vocabulary, `output` is `[rows, d]`.
pub fn embedding_forward(tokens: &[u8], weight: &[f32], d: usize, scale: f32, output: &mut [f32]) {
    for (token, output) in tokens.iter().zip(output.chunks_exact_mut(d)) {
        let row = &weight[usize::from(*token) * d..][..d];
        output.iter_mut().zip(row).for_each(|(out, w)| *out = scale * w);
    }
}

/// `d_weight[token] += scale d_output`.
///
/// # Shapes
/// `d_weight` is `[vocabulary, d]`, `tokens` is `[rows]` with values below the vocabulary, `d_output` is `[rows, d]`.
pub fn embedding_backward(tokens: &[u8], d_output: &[f32], d: usize, scale: f32, d_weight: &mut [f32]) {
    for (token, d_output) in tokens.iter().zip(d_output.chunks_exact(d)) {
        add_scaled(&mut d_weight[usize::from(*token) * d..][..d], scale, d_output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (tokens, d, scale) = ([3, 0, 3, 1], 5, 1.7);
        let weight = numbers(4 * d, 1);
        let forward = |weight: &[f32]| {
            let mut output = vec![0.0; tokens.len() * d];
            embedding_forward(&tokens, weight, d, scale, &mut output);
            weighted_sum(&output)
        };
        let mut d_weight = vec![0.0; weight.len()];
        embedding_backward(&tokens, &forward(&weight).1, d, scale, &mut d_weight);
        assert_gradient(&weight, &d_weight, |v| forward(v).0);
    }
}
