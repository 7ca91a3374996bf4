//! The residual MLP block, `h <- h + gate * f(h)` with
//! `f(h) = Dropout(W2 Dropout(GELU(W1 LayerNorm(h) + b1)) + b2)`, forward and backward.
//!
//! The gate is 1 and no parameter under `update = "documented"`, where blocks are pure transforms; it is the learned
//! gate under `update = "original"`.

use super::EXPANSION;
use super::packed::PackedBlock;
use super::params::BlockParams;
use crate::ops::{
    Dropout, add_scaled, dot, gelu_backward, gelu_forward, layer_norm_backward, layer_norm_forward,
    linear_backward_bias, linear_backward_input, linear_forward,
};

/// What some applications of one block leave for the backward pass; `[applications * rows, width]` each.
#[derive(Clone, Debug)]
pub struct BlockTape {
    /// LayerNorm(h) before gain and bias, width d.
    normalised: Vec<f32>,
    /// `1 / std` of each row.
    inv_std: Vec<f32>,
    /// LayerNorm(h), width d: the input of W1.
    pub normed: Vec<f32>,
    /// Slope of GELU with its dropout, width 4d; the backward pass makes it the gradient of W1's output.
    pub slope: Vec<f32>,
    /// Output of GELU and dropout, width 4d: the input of W2.
    pub activation: Vec<f32>,
    /// f(h), width d; the backward pass makes it the gradient of W2's output.
    pub branch: Vec<f32>,
}

/// Gradients that are sums over rows and small enough for every shard to keep its own.
#[derive(Clone, Debug)]
pub struct BlockRowSums {
    /// `[d]` each: LayerNorm's gain and bias, b2.
    pub gain: Vec<f32>,
    /// `[d]`
    pub norm_bias: Vec<f32>,
    /// `[4d]`: b1.
    pub expand_bias: Vec<f32>,
    /// `[d]`
    pub contract_bias: Vec<f32>,
}

/// One application of a block: which rows of the tape it uses and which dropout masks.
#[derive(Clone, Copy, Debug)]
pub struct Application<'a> {
    /// Position in the tape.
    pub slot: usize,
    /// Masks of this step.
    pub dropout: &'a Dropout,
    /// Sample of the first row.
    pub first_sample: usize,
    /// Number of this application among all of the recursion.
    pub site: usize,
    /// What f(h) is multiplied by.
    pub gate: f32,
}

impl Application<'_> {
    fn drop(&self, values: &mut [f32], width: usize, second: bool) {
        self.dropout.apply(values, width, self.first_sample, 2 * self.site + usize::from(second));
    }
}

impl BlockTape {
    /// Room for `rows` rows in all.
    pub fn new(rows: usize, d: usize) -> Self {
        let zeros = |width: usize| vec![0.0; rows * width];
        Self {
            normalised: zeros(d),
            inv_std: zeros(1),
            normed: zeros(d),
            slope: zeros(EXPANSION * d),
            activation: zeros(EXPANSION * d),
            branch: zeros(d),
        }
    }

    /// f32 values that one row takes.
    pub fn values_per_row(d: usize) -> usize {
        3 * d + 2 * EXPANSION * d + 1
    }
}

impl BlockRowSums {
    /// Zeros.
    pub fn new(d: usize) -> Self {
        let zeros = || vec![0.0; d];
        Self {
            gain: zeros(),
            norm_bias: zeros(),
            expand_bias: vec![0.0; EXPANSION * d],
            contract_bias: zeros(),
        }
    }
}

/// `h <- h + gate * f(h)`, in place.
///
/// # Shapes
/// `h` is `[rows, d]`.
pub fn block_forward(
    params: &BlockParams,
    packed: &PackedBlock,
    tape: &mut BlockTape,
    h: &mut [f32],
    application: Application,
) {
    let d = params.norm.weight.data.len();
    let rows = h.len() / d;
    let narrow = application.slot * rows * d..(application.slot + 1) * rows * d;
    let wide = EXPANSION * narrow.start..EXPANSION * narrow.end;
    let each = application.slot * rows..(application.slot + 1) * rows;
    let (normed, branch) = (&mut tape.normed[narrow.clone()], &mut tape.branch[narrow.clone()]);
    let (slope, activation) = (&mut tape.slope[wide.clone()], &mut tape.activation[wide]);

    let (gain, bias) = (&params.norm.weight.data, &params.norm.bias.data);
    layer_norm_forward(h, gain, bias, &mut tape.normalised[narrow], &mut tape.inv_std[each], normed);
    linear_forward(normed, &packed.expand, &params.expand.bias.data, slope);
    gelu_forward(slope, activation);
    application.drop(activation, EXPANSION * d, false);
    application.drop(slope, EXPANSION * d, false);
    linear_forward(activation, &packed.contract, &params.contract.bias.data, branch);
    application.drop(branch, d, true);
    add_scaled(h, application.gate, branch);
}

/// Turns `d_h`, the gradient of the block's result, into the gradient of its input, in place; leaves in the tape
/// what the weights' gradients are made of, adds to `sums`, and returns the gradient of the gate.
///
/// # Shapes
/// `d_h` is `[rows, d]`, `scratch` is `[rows, 4d]`.
pub fn block_backward(
    params: &BlockParams,
    packed: &PackedBlock,
    tape: &mut BlockTape,
    sums: &mut BlockRowSums,
    d_h: &mut [f32],
    scratch: &mut [f32],
    application: Application,
) -> f32 {
    let d = params.norm.weight.data.len();
    let rows = d_h.len() / d;
    let narrow = application.slot * rows * d..(application.slot + 1) * rows * d;
    let wide = EXPANSION * narrow.start..EXPANSION * narrow.end;
    let each = application.slot * rows..(application.slot + 1) * rows;
    let branch = &mut tape.branch[narrow.clone()];
    let slope = &mut tape.slope[wide];

    let d_gate = dot(d_h, branch);
    branch.fill(0.0);
    add_scaled(branch, application.gate, d_h);
    application.drop(branch, d, true);
    linear_backward_bias(branch, &mut sums.contract_bias);
    linear_backward_input(rows, branch, (&params.contract.weight.data, &packed.contract), scratch);
    gelu_backward(scratch, slope);
    linear_backward_bias(slope, &mut sums.expand_bias);
    let d_normed = &mut scratch[..rows * d];
    linear_backward_input(rows, slope, (&params.expand.weight.data, &packed.expand), d_normed);
    layer_norm_backward(
        d_normed,
        &tape.normalised[narrow],
        &tape.inv_std[each],
        &params.norm.weight.data,
        d_h,
        [&mut sums.gain, &mut sums.norm_bias],
    );
    d_gate
}
