//! The residual MLP block, `h <- h + gate * f(h)` with
//! `f(h) = Dropout(W2 Dropout(GELU(W1 n + b1)) + b2)` and `n = LayerNorm(h)`, forward and backward.
//!
//! With `mixing = "unit_mean"` GELU sees `W1 n + b1 + sum over kinds k of M_k mean_k(n)`, where `mean_k(n)` is the mean over
//! the row, column, box or cell that a vector lies in. With attention or a token MLP a block mixes the cells first (`mixer.rs`).
//!
//! The gate is the learned one under `update = "original"`. Otherwise blocks are pure transforms: it is 1 and no parameter.

use super::mixer::{Mixer, MixerRowSums, MixerTape, mixer_backward, mixer_forward};
use super::packed::PackedBlock;
use super::params::BlockParams;
use crate::config::{TrmConfig, Update};
use crate::ops::{
    Dropout, add_to_members, gate_backward, gate_forward, gelu_backward, gelu_forward, layer_norm_backward,
    layer_norm_forward, linear_backward_bias, linear_backward_input, linear_forward, product, sum_units,
};
use crate::sudoku::Units;
use std::ops::Range;
use trm_kernels::Overwrite;

/// Weight of each of the nine members in their mean.
const NINTH: f32 = 1.0 / 9.0;

/// What some applications of one block leave for the backward pass; `[applications * rows, width]` each. A row is a
/// vector of the state; wide is the width of the MLP's inner layer.
#[derive(Clone, Debug)]
pub struct BlockTape {
    /// Of the mixer before the MLP.
    pub mixer: Option<MixerTape>,
    /// LayerNorm(h) before gain and bias, width d.
    normalised: Vec<f32>,
    /// `1 / std` of each row.
    inv_std: Vec<f32>,
    /// LayerNorm(h), width d: the input of W1.
    pub normed: Vec<f32>,
    /// `mean_k(n)`, `[applications, kinds, rows / 9, d]`: the input of M_k.
    pub means: Vec<f32>,
    /// `M_k mean_k(n)`, `[applications, kinds, rows / 9, wide]`; the backward pass makes it the gradient of that.
    pub messages: Vec<f32>,
    /// Slope of GELU with its dropout, wide; the backward pass makes it the gradient of W1's output.
    pub slope: Vec<f32>,
    /// Output of GELU and dropout, wide: the input of W2.
    pub activation: Vec<f32>,
    /// f(h), width d; the backward pass makes it the gradient of W2's output.
    pub branch: Vec<f32>,
}

/// Gradients that are sums over rows and small enough for every shard to keep its own.
#[derive(Clone, Debug)]
pub struct BlockRowSums {
    /// The gate, `[1]` or `[d]`; empty where no gate acts inside the blocks.
    pub gate: Vec<f32>,
    /// Of the mixer before the MLP.
    pub mixer: Option<MixerRowSums>,
    /// `[d]` each: LayerNorm's gain and bias, b2.
    pub gain: Vec<f32>,
    /// `[d]`
    pub norm_bias: Vec<f32>,
    /// `[wide]`: b1.
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
    /// Vectors of one sample.
    pub tokens: usize,
    /// Kinds of units to mix in.
    pub units: &'static [Units],
    /// What mixes the cells before the MLP.
    pub mixer: Option<&'a Mixer>,
    /// Number of this application among all of the recursion.
    pub site: usize,
    /// What f(h) is multiplied by, `[1]` or `[d]`.
    pub gate: &'a [f32],
}

impl Application<'_> {
    fn drop(&self, values: &mut [f32], width: usize, second: bool) {
        self.dropout.apply(
            values,
            self.tokens * width,
            self.first_sample,
            2 * self.site + usize::from(second),
        );
    }

    /// Dropout of what the mixer adds; its sites are numbered behind those of the MLPs.
    pub fn drop_mixed(&self, values: &mut [f32], d: usize) {
        const BEHIND: usize = 1 << 31;
        self.dropout.apply(values, self.tokens * d, self.first_sample, BEHIND | self.site);
    }
}

impl BlockTape {
    /// Room for `rows` rows in all.
    pub fn new(config: &TrmConfig, rows: usize) -> Self {
        let (d, wide) = (config.hidden_dim, config.mlp_width());
        let zeros = |width: usize| vec![0.0; rows * width];
        let units = |width: usize| vec![0.0; config.units().len() * (rows / 9) * width];
        Self {
            mixer: Mixer::new(config).map(|mixer| MixerTape::new(&mixer, d, rows)),
            normalised: zeros(d),
            inv_std: zeros(1),
            normed: zeros(d),
            means: units(d),
            messages: units(wide),
            slope: zeros(wide),
            activation: zeros(wide),
            branch: zeros(d),
        }
    }

    /// f32 values that one row takes.
    pub fn values_per_row(config: &TrmConfig) -> usize {
        let (d, wide) = (config.hidden_dim, config.mlp_width());
        let mixer = Mixer::new(config).map_or(0, |mixer| MixerTape::values_per_row(&mixer, d));
        mixer + 3 * d + 2 * wide + 1 + config.units().len() * (d + wide) / 9
    }
}

/// Values for each row that a pass works in.
pub fn scratch_per_row(config: &TrmConfig, training: bool) -> usize {
    let d = config.hidden_dim;
    let mixer = Mixer::new(config).map_or(0, |mixer| mixer.scratch_per_row(d));
    // First the gradient of the activation; then that of n and, of d / 9 for each kind, those of the means.
    let backward = if training { config.mlp_width().max(2 * d) } else { 0 };
    mixer.max(backward)
}

impl BlockRowSums {
    /// Zeros.
    pub fn new(config: &TrmConfig) -> Self {
        let d = config.hidden_dim;
        let zeros = || vec![0.0; d];
        let gate = if config.update == Update::Original { config.gates.width(d) } else { 0 };
        Self {
            gate: vec![0.0; gate],
            mixer: Mixer::new(config).map(|mixer| MixerRowSums::new(&mixer, d)),
            gain: zeros(),
            norm_bias: zeros(),
            expand_bias: vec![0.0; config.mlp_width()],
            contract_bias: zeros(),
        }
    }
}

/// Where the values of one application stand in the parts of a tape.
struct Places {
    narrow: Range<usize>,
    wide: Range<usize>,
    each: Range<usize>,
    means: Range<usize>,
    messages: Range<usize>,
}

impl Places {
    fn new(application: &Application, rows: usize, [d, wide]: [usize; 2]) -> Self {
        let place = |values: usize| application.slot * values..(application.slot + 1) * values;
        let unit_rows = application.units.len() * (rows / 9);
        Self {
            narrow: place(rows * d),
            wide: place(rows * wide),
            each: place(rows),
            means: place(unit_rows * d),
            messages: place(unit_rows * wide),
        }
    }
}

/// `h <- h + gate * f(h)`, in place, after the cells are mixed.
///
/// # Shapes
/// `h` is `[rows, d]`, `scratch` holds [`scratch_per_row`] values for each row.
pub fn block_forward(
    params: &BlockParams,
    packed: &PackedBlock,
    tape: &mut BlockTape,
    h: &mut [f32],
    scratch: &mut [f32],
    application: Application,
) {
    if let (Some(params), Some(packed), Some(tape)) = (&params.mixer, &packed.mixer, &mut tape.mixer) {
        mixer_forward(params, packed, tape, h, scratch, application);
    }
    let (d, wide) = (params.norm.weight.data.len(), params.expand.bias.data.len());
    let rows = h.len() / d;
    let at = Places::new(&application, rows, [d, wide]);
    let (normed, branch) = (&mut tape.normed[at.narrow.clone()], &mut tape.branch[at.narrow.clone()]);
    let (slope, activation) = (&mut tape.slope[at.wide.clone()], &mut tape.activation[at.wide]);

    let (gain, bias) = (&params.norm.weight.data, &params.norm.bias.data);
    layer_norm_forward(h, gain, bias, &mut tape.normalised[at.narrow], &mut tape.inv_std[at.each], normed);
    linear_forward(normed, &packed.expand, &params.expand.bias.data, slope);
    let (means, messages) = (&mut tape.means[at.means], &mut tape.messages[at.messages]);
    sum_units(application.units, normed, d, NINTH, means);
    for (k, mix) in packed.mix.iter().enumerate() {
        let [mean, message] = [of_kind(means, rows * d, k), of_kind(messages, rows * wide, k)];
        product(rows / 9, mean, mix, message, Overwrite::Yes);
    }
    add_to_members(application.units, messages, wide, 1.0, slope);
    gelu_forward(slope, activation);
    application.drop(activation, wide, false);
    application.drop(slope, wide, false);
    linear_forward(activation, &packed.contract, &params.contract.bias.data, branch);
    application.drop(branch, d, true);
    gate_forward(h, application.gate, branch);
}

/// The part of kind k in values `[kinds, rows / 9, width]`, where all rows of that width hold `values`.
fn of_kind(units: &mut [f32], values: usize, k: usize) -> &mut [f32] {
    &mut units[k * values / 9..(k + 1) * values / 9]
}

/// Turns `d_h`, the gradient of the block's result, into the gradient of its input, in place; leaves in the tape
/// what the weights' gradients are made of, and adds to `sums`.
///
/// # Shapes
/// `d_h` is `[rows, d]`; `scratch` holds [`scratch_per_row`] values for each row.
pub fn block_backward(
    params: &BlockParams,
    packed: &PackedBlock,
    tape: &mut BlockTape,
    sums: &mut BlockRowSums,
    d_h: &mut [f32],
    scratch: &mut [f32],
    application: Application,
) {
    let (d, wide) = (params.norm.weight.data.len(), params.expand.bias.data.len());
    let rows = d_h.len() / d;
    let at = Places::new(&application, rows, [d, wide]);
    let branch = &mut tape.branch[at.narrow.clone()];
    let slope = &mut tape.slope[at.wide];

    gate_backward(d_h, branch, &mut sums.gate);
    branch.fill(0.0);
    gate_forward(branch, application.gate, d_h);
    application.drop(branch, d, true);
    linear_backward_bias(branch, &mut sums.contract_bias);
    let d_activation = &mut scratch[..rows * wide];
    linear_backward_input(rows, branch, (&params.contract.weight.data, &packed.contract), d_activation);
    gelu_backward(d_activation, slope);
    linear_backward_bias(slope, &mut sums.expand_bias);
    let (d_normed, d_means) = scratch.split_at_mut(rows * d);
    linear_backward_input(rows, slope, (&params.expand.weight.data, &packed.expand), d_normed);
    let d_messages = &mut tape.messages[at.messages];
    let d_means = &mut d_means[..at.means.len()];
    sum_units(application.units, slope, wide, 1.0, d_messages);
    for (k, (mix, packed)) in params.mix.iter().zip(&packed.mix).enumerate() {
        let [d_message, d_mean] = [of_kind(d_messages, rows * wide, k), of_kind(d_means, rows * d, k)];
        linear_backward_input(rows / 9, d_message, (&mix.data, packed), d_mean);
    }
    add_to_members(application.units, d_means, d, NINTH, d_normed);
    layer_norm_backward(
        d_normed,
        &tape.normalised[at.narrow],
        &tape.inv_std[at.each],
        &params.norm.weight.data,
        d_h,
        [&mut sums.gain, &mut sums.norm_bias],
    );
    let mixed = (&params.mixer, &packed.mixer, &mut tape.mixer, &mut sums.mixer);
    if let (Some(params), Some(packed), Some(tape), Some(mixer_sums)) = mixed {
        let sums = (mixer_sums, &mut sums.gate[..]);
        mixer_backward(params, packed, tape, sums, d_h, scratch, application);
    }
}
