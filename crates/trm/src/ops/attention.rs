//! Multi-head softmax attention over the tokens of one puzzle, every token seeing every other, with rotary positions.
//!
//! Everything is laid out with tokens last, `[.., tokens]`: a head's queries, keys and values are then whole rows, and
//! the softmax over the tokens that are looked at runs down columns, many side by side.

use super::transpose;
use trm_kernels::{
    Overwrite, math::exp_nonpositive, matmul, matmul_lhs_transposed, vectorize, vectorize_fused,
};

/// Turns queries and keys by angles in proportion to the token's position, so that their products depend on distances.
///
/// # Source
/// Su et al., "RoFormer", <https://arxiv.org/abs/2104.09864>; pairs are (i, i + head_dim / 2) as in the paper's program.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// cos and sin of position times `theta^(-2 i / part)`, `[parts, part / 2, tokens]` each.
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Parts that a head is cut into, each turned by positions of its own.
    parts: usize,
}

impl Rotary {
    /// The angles of a head with an even number of channels.
    pub fn new(head_dim: usize, tokens: usize, theta: f64) -> Self {
        let positions: Vec<usize> = (0..tokens).collect();
        Self::of_positions(head_dim, &[positions], theta)
    }

    /// One part of the head for each list of positions: the first turns by the first list, and so on.
    pub fn of_positions(head_dim: usize, positions: &[Vec<usize>], theta: f64) -> Self {
        let part = head_dim / positions.len();
        let angle = |i: usize, at: usize| at as f64 * theta.powf(-2.0 * i as f64 / part as f64);
        let of_part = |list: &Vec<usize>| {
            (0..part / 2).flat_map(|i| list.iter().map(move |at| angle(i, *at))).collect()
        };
        let angles: Vec<f64> = positions.iter().flat_map::<Vec<f64>, _>(of_part).collect();
        Self {
            cos: angles.iter().map(|a| a.cos() as f32).collect(),
            sin: angles.iter().map(|a| a.sin() as f32).collect(),
            parts: positions.len(),
        }
    }

    /// Turns nothing: attention without positions.
    pub fn none() -> Self {
        Self { cos: Vec::new(), sin: Vec::new(), parts: 0 }
    }

    /// Whether there is anything to turn by.
    pub(super) fn turns(&self) -> bool {
        self.parts > 0
    }

    /// Turns one head, `[head_dim, tokens]`, forward with `direction` 1 and back with -1.
    pub(super) fn turn(&self, head: &mut [f32], direction: f32) {
        if !self.turns() {
            return;
        }
        let angles = self.cos.len() / self.parts;
        let tables = self.cos.chunks_exact(angles).zip(self.sin.chunks_exact(angles));
        for (part, (cos, sin)) in head.chunks_exact_mut(2 * angles).zip(tables) {
            let (first, second) = part.split_at_mut(angles);
            vectorize(
                #[inline(always)]
                || {
                    let angles = cos.iter().zip(sin);
                    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
                        let sin = direction * sin;
                        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                    }
                },
            );
        }
    }

    /// Turns the head of one token, `[head_dim]`, where there are angles.
    pub(super) fn turn_token(&self, head: &mut [f32], token: usize, direction: f32) {
        let tokens = 2 * self.cos.len() / head.len();
        let angles = self.cos.len() / self.parts / tokens;
        for (part, head) in head.chunks_exact_mut(2 * angles).enumerate() {
            let (first, second) = head.split_at_mut(angles);
            for (i, (a, b)) in first.iter_mut().zip(second).enumerate() {
                let at = (part * angles + i) * tokens + token;
                let (cos, sin) = (self.cos[at], direction * self.sin[at]);
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Number of heads.
    pub count: usize,
    /// Channels of one head.
    pub dim: usize,
    /// Tokens that see each other.
    pub tokens: usize,
}

impl Heads {
    /// Values of one head.
    pub(super) fn size(self) -> usize {
        self.dim * self.tokens
    }

    /// Queries, keys and values of head h.
    pub(super) fn parts(self, qkv: &[f32], h: usize) -> [&[f32]; 3] {
        [0, 1, 2].map(|kind| &qkv[(kind * self.count + h) * self.size()..][..self.size()])
    }

    /// The factor that the products of queries and keys are multiplied by.
    pub(super) fn scale(self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }
}

/// `output_h = V_h softmax(K_h^T Q_h / sqrt(head_dim))` with Q and K turned, for each head h.
///
/// # Shapes
/// `qkv` is `[3, heads, head_dim, tokens]`; queries and keys are turned in place, as backward needs them. `weights`
/// (kept for backward) is `[heads, tokens looked at, tokens]`, `output` is `[heads, head_dim, tokens]`.
pub fn attention_forward(
    heads: Heads,
    rotary: &Rotary,
    qkv: &mut [f32],
    weights: &mut [f32],
    output: &mut [f32],
) {
    let Heads { count, dim, tokens } = heads;
    qkv[..2 * count * heads.size()].chunks_exact_mut(heads.size()).for_each(|head| rotary.turn(head, 1.0));
    let outputs = output.chunks_exact_mut(heads.size());
    for (h, (weights, output)) in weights.chunks_exact_mut(tokens * tokens).zip(outputs).enumerate() {
        let [query, key, value] = heads.parts(qkv, h);
        matmul_lhs_transposed([tokens, dim, tokens], key, [tokens, 0], query, weights, Overwrite::Yes);
        softmax_of_columns(weights, tokens, heads.scale());
        matmul([dim, tokens, tokens], value, weights, output, Overwrite::Yes);
    }
}

/// The gradient of queries, keys and values; overwrites `d_qkv` and the weights.
///
/// With P the weights, `d_V = d_output P^T`, `d_P = V^T d_output`, `d_S = P (d_P - column sums of P d_P)`,
/// `d_Q = K d_S`, `d_K = Q d_S^T`, both times the scale.
///
/// # Shapes
/// As for [`attention_forward`], whose turned queries and keys `qkv` holds; `scratch` is `[2, tokens, tokens]`.
pub fn attention_backward(
    heads: Heads,
    rotary: &Rotary,
    qkv: &[f32],
    weights: &mut [f32],
    d_output: &[f32],
    d_qkv: &mut [f32],
    scratch: &mut [f32],
) {
    let Heads { count, dim, tokens } = heads;
    let square = [tokens, tokens];
    let (d_weights, turned) = scratch.split_at_mut(tokens * tokens);
    let (d_queries, rest) = d_qkv.split_at_mut(count * heads.size());
    let (d_keys, d_values) = rest.split_at_mut(count * heads.size());
    for (h, weights) in weights.chunks_exact_mut(tokens * tokens).enumerate() {
        let [query, key, value] = heads.parts(qkv, h);
        let own = h * heads.size()..(h + 1) * heads.size();
        let d_output = &d_output[own.clone()];
        transpose(square, weights, turned);
        matmul([dim, tokens, tokens], d_output, turned, &mut d_values[own.clone()], Overwrite::Yes);
        matmul_lhs_transposed([tokens, dim, tokens], value, [tokens, 0], d_output, d_weights, Overwrite::Yes);
        softmax_of_columns_backward(weights, d_weights, tokens, heads.scale());
        matmul([dim, tokens, tokens], key, weights, &mut d_queries[own.clone()], Overwrite::Yes);
        transpose(square, weights, turned);
        matmul([dim, tokens, tokens], query, turned, &mut d_keys[own], Overwrite::Yes);
    }
    d_queries.chunks_exact_mut(heads.size()).for_each(|head| rotary.turn(head, -1.0));
    d_keys.chunks_exact_mut(heads.size()).for_each(|head| rotary.turn(head, -1.0));
}

/// Replaces scores, `[rows, columns]`, by the softmax of `scale` times each column.
fn softmax_of_columns(scores: &mut [f32], columns: usize, scale: f32) {
    let mut largest = vec![f32::NEG_INFINITY; columns];
    let mut total = vec![0.0; columns];
    vectorize_fused(
        #[inline(always)]
        |mul_add| {
            for row in scores.chunks_exact(columns) {
                largest.iter_mut().zip(row).for_each(|(most, s)| *most = most.max(*s));
            }
            for row in scores.chunks_exact_mut(columns) {
                for ((s, largest), total) in row.iter_mut().zip(&largest).zip(&mut total) {
                    *s = exp_nonpositive(scale * (*s - largest), mul_add);
                    *total += *s;
                }
            }
            for row in scores.chunks_exact_mut(columns) {
                row.iter_mut().zip(&total).for_each(|(s, total)| *s /= total);
            }
        },
    );
}

/// Replaces the weights by the gradient of the scores.
fn softmax_of_columns_backward(weights: &mut [f32], d_weights: &[f32], columns: usize, scale: f32) {
    let mut total = vec![0.0; columns];
    vectorize(
        #[inline(always)]
        || {
            for (row, d_row) in weights.chunks_exact(columns).zip(d_weights.chunks_exact(columns)) {
                for ((p, d), total) in row.iter().zip(d_row).zip(&mut total) {
                    *total += p * d;
                }
            }
            for (row, d_row) in weights.chunks_exact_mut(columns).zip(d_weights.chunks_exact(columns)) {
                for ((p, d), total) in row.iter_mut().zip(d_row).zip(&total) {
                    *p *= scale * (d - total);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::{assert_gradient, numbers, weighted_sum};

    const HEADS: Heads = Heads { count: 2, dim: 4, tokens: 5 };

    struct Run {
        qkv: Vec<f32>,
        weights: Vec<f32>,
        output: Vec<f32>,
    }

    fn run(qkv: &[f32], rotary: &Rotary) -> Run {
        let Heads { count, tokens, .. } = HEADS;
        let mut run = Run {
            qkv: qkv.to_vec(),
            weights: vec![0.0; count * tokens * tokens],
            output: vec![0.0; count * HEADS.size()],
        };
        attention_forward(HEADS, rotary, &mut run.qkv, &mut run.weights, &mut run.output);
        run
    }

    fn input() -> Vec<f32> {
        numbers(3 * HEADS.count * HEADS.size(), 1).iter().map(|v| 2.0 * v).collect()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (qkv, rotary) = (input(), Rotary::new(HEADS.dim, HEADS.tokens, 10.0));
        let mut at = run(&qkv, &rotary);
        let (_, d_output) = weighted_sum(&at.output);
        let (mut d_qkv, mut scratch) = (vec![9.0; qkv.len()], vec![0.0; 50]);
        attention_backward(HEADS, &rotary, &at.qkv, &mut at.weights, &d_output, &mut d_qkv, &mut scratch);
        assert_gradient(&qkv, &d_qkv, |v| weighted_sum(&run(v, &rotary).output).0);
    }

    #[test]
    fn every_token_looks_at_all_tokens_with_weights_that_sum_to_one() {
        let at = run(&input(), &Rotary::new(HEADS.dim, HEADS.tokens, 10_000.0));
        for head in at.weights.chunks_exact(25) {
            for token in 0..5 {
                let total: f32 = (0..5).map(|seen| head[seen * 5 + token]).sum();
                assert!((total - 1.0).abs() < 1e-6, "{total}");
            }
        }
    }

    #[test]
    fn turned_products_depend_on_the_distance_alone() {
        let rotary = Rotary::new(4, 5, 10.0);
        let everywhere = |values: [f32; 4]| {
            let mut head: Vec<f32> = values.iter().flat_map(|v| [*v; 5]).collect();
            rotary.turn(&mut head, 1.0);
            head
        };
        let (q, k) = (everywhere([0.3, -1.0, 0.5, 2.0]), everywhere([1.0, 0.7, -0.2, 0.4]));
        let product = |a: usize, b: usize| (0..4).map(|c| q[c * 5 + a] * k[c * 5 + b]).sum::<f32>();
        assert!((product(0, 2) - product(2, 4)).abs() < 1e-5 && (product(0, 2) - product(0, 3)).abs() > 1e-2);
    }
}
