//! Multi-head softmax attention in which a head sees only the nine cells of one unit: of the row, column or box that the
//! cell which looks lies in.
//!
//! The cells of a head are put in an order in which the members of a unit lie nine apart: first the first member of every
//! unit, then the second. The cell that another sees r members on is then `9 r` places on, wrapped around, and what would be
//! nine small products for each head are sums over whole rows of 81.

use super::attention::{Heads, Rotary, softmax_of_columns, softmax_of_columns_backward};
use trm_kernels::vectorize;

/// Cells of a unit, and units of a kind.
const NINE: usize = 9;

/// `output_h[t] = sum over r of V_h[t + 9 r] P_h[r, t]`, P the softmax over r of `Q_h[t] K_h[t + 9 r] / sqrt(head_dim)` with
/// Q and K turned, for each head h.
///
/// # Shapes
/// As for [`super::attention_forward`] with 81 tokens; but `weights` is `[heads, 9, 81]`. Head h is turned by
/// `rotaries[h % rotaries.len()]`.
pub fn unit_attention_forward(
    heads: Heads,
    rotaries: &[Rotary],
    qkv: &mut [f32],
    weights: &mut [f32],
    output: &mut [f32],
) {
    turn(heads, rotaries, &mut qkv[..2 * heads.count * heads.size()], 1.0);
    let outputs = output.chunks_exact_mut(heads.size());
    for (h, (weights, output)) in weights.chunks_exact_mut(NINE * heads.tokens).zip(outputs).enumerate() {
        let [query, key, value] = heads.parts(qkv, h);
        compare(heads.tokens, query, key, weights);
        softmax_of_columns(weights, heads.tokens, heads.scale());
        gather(heads.tokens, weights, value, output);
    }
}

/// The gradient of queries, keys and values; overwrites `d_qkv` and the weights.
///
/// # Shapes
/// As for [`unit_attention_forward`], whose turned queries and keys `qkv` holds; `scratch` is `[9, 81]`.
pub fn unit_attention_backward(
    heads: Heads,
    rotaries: &[Rotary],
    qkv: &[f32],
    weights: &mut [f32],
    d_output: &[f32],
    d_qkv: &mut [f32],
    scratch: &mut [f32],
) {
    let tokens = heads.tokens;
    let (d_queries, rest) = d_qkv.split_at_mut(heads.count * heads.size());
    let (d_keys, d_values) = rest.split_at_mut(heads.count * heads.size());
    for (h, weights) in weights.chunks_exact_mut(NINE * tokens).enumerate() {
        let [query, key, value] = heads.parts(qkv, h);
        let own = h * heads.size()..(h + 1) * heads.size();
        let d_output = &d_output[own.clone()];
        scatter(tokens, weights, d_output, &mut d_values[own.clone()]);
        compare(tokens, d_output, value, scratch);
        softmax_of_columns_backward(weights, scratch, tokens, heads.scale());
        gather(tokens, weights, key, &mut d_queries[own.clone()]);
        scatter(tokens, weights, query, &mut d_keys[own]);
    }
    turn(heads, rotaries, d_queries, -1.0);
    turn(heads, rotaries, d_keys, -1.0);
}

/// Turns all heads of queries, or of queries and keys.
fn turn(heads: Heads, rotaries: &[Rotary], values: &mut [f32], direction: f32) {
    for (h, head) in values.chunks_exact_mut(heads.size()).enumerate() {
        rotaries[h % heads.count % rotaries.len()].turn(head, direction);
    }
}

/// `scores[r, t] = sum over c of seeing[c, t] seen[c, t + 9 r]`
fn compare(tokens: usize, seeing: &[f32], seen: &[f32], scores: &mut [f32]) {
    vectorize(
        #[inline(always)]
        || {
            for (r, scores) in scores.chunks_exact_mut(tokens).enumerate() {
                scores.fill(0.0);
                let (near, wrapped) = scores.split_at_mut(tokens - NINE * r);
                for (seeing, seen) in seeing.chunks_exact(tokens).zip(seen.chunks_exact(tokens)) {
                    add_products(near, &seeing[..near.len()], &seen[NINE * r..]);
                    add_products(wrapped, &seeing[near.len()..], &seen[..NINE * r]);
                }
            }
        },
    );
}

/// `output[c, t] = sum over r of weights[r, t] seen[c, t + 9 r]`
fn gather(tokens: usize, weights: &[f32], seen: &[f32], output: &mut [f32]) {
    vectorize(
        #[inline(always)]
        || {
            for (seen, output) in seen.chunks_exact(tokens).zip(output.chunks_exact_mut(tokens)) {
                output.fill(0.0);
                for (r, weights) in weights.chunks_exact(tokens).enumerate() {
                    let (near, wrapped) = output.split_at_mut(tokens - NINE * r);
                    add_products(near, &weights[..near.len()], &seen[NINE * r..]);
                    add_products(wrapped, &weights[near.len()..], &seen[..NINE * r]);
                }
            }
        },
    );
}

/// `output[c, t + 9 r] = sum over r of weights[r, t] seeing[c, t]`: the transpose of [`gather`].
fn scatter(tokens: usize, weights: &[f32], seeing: &[f32], output: &mut [f32]) {
    vectorize(
        #[inline(always)]
        || {
            for (seeing, output) in seeing.chunks_exact(tokens).zip(output.chunks_exact_mut(tokens)) {
                output.fill(0.0);
                for (r, weights) in weights.chunks_exact(tokens).enumerate() {
                    let (wrapped, near) = output.split_at_mut(NINE * r);
                    add_products(near, &weights[..near.len()], &seeing[..near.len()]);
                    add_products(wrapped, &weights[near.len()..], &seeing[near.len()..]);
                }
            }
        },
    );
}

#[inline(always)]
fn add_products(sums: &mut [f32], a: &[f32], b: &[f32]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}
