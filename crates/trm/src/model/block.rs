//! The residual MLP block, `h <- h + gate * f(h)` with
//! `f(h) = Dropout(W2 Dropout(GELU(W1 n + b1)) + b2)` and `n = LayerNorm(h)`, forward and backward.
//!
//! With `mixing = "unit_mean"` GELU sees `W1 n + b1 + sum over kinds k of M_k mean_k(n)`, where `mean_k(n)` is the mean over
//! the row, column, box or cell that a vector lies in. With attention or a token MLP a block mixes the cells first (`mixer.rs`).
//!
//! The gate is the learned one under `update = "original"`. Otherwise blocks are pure transforms: it is 1 and no parameter.

use super::block_tape::{BlockRowSums, BlockTape, Places};
use super::mixer::{Mixer, mixer_backward, mixer_forward};
use super::packed::PackedBlock;
use super::params::BlockParams;
use crate::config::NetworkConfig;
use crate::ops::{
    Dropout, InParts, Part, RowsFormat, add_to_members, gate_backward, gate_forward, gate_forward_part, gelu,
    gelu_backward, gelu_forward, layer_norm_backward, layer_norm_forward, linear_backward_bias,
    linear_backward_input, product, rows_backward_input, rows_backward_input_in_parts, rows_forward_in_parts,
    rows_forward_into, sum_units, unit_rows,
};
use crate::sudoku::Units;
use trm_kernels::Overwrite;

/// Weight of each of the nine members in their mean.
const NINTH: f32 = 1.0 / 9.0;

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
    pub units: &'a [Units],
    /// What mixes the cells before the MLP.
    pub mixer: Option<&'a Mixer>,
    /// Number of this application among all of the recursion.
    pub site: usize,
    /// What f(h) is multiplied by, `[1]` or `[d]`.
    pub gate: &'a [f32],
}

impl Application<'_> {
    /// Dropout of a part of the result.
    fn drop_result(&self, values: &mut [f32], d: usize, part: &Part) {
        self.dropout.apply([values], [self.tokens, d], part, self.first_sample, 2 * self.site + 1);
    }

    /// Dropout of a part of GELU's output and slope.
    fn drop_inner(&self, arrays: [&mut [f32]; 2], wide: usize, part: &Part) {
        self.dropout.apply(arrays, [self.tokens, wide], part, self.first_sample, 2 * self.site);
    }

    /// Dropout of what the mixer adds; its sites are numbered behind those of the MLPs.
    pub fn drop_mixed(&self, values: &mut [f32], d: usize) {
        const BEHIND: usize = 1 << 31;
        let all = Part { rows: 0..values.len() / d, columns: 0..d };
        self.dropout.apply([values], [self.tokens, d], &all, self.first_sample, BEHIND | self.site);
    }
}

/// Units are summed over whole vectors; all else can be done part by part.
fn in_parts(units: &[Units]) -> InParts {
    if units.is_empty() { InParts::Yes } else { InParts::No }
}

/// Values that a pass through a block of `rows` rows works in.
pub fn scratch(config: &NetworkConfig, format: RowsFormat, rows: usize) -> usize {
    let (d, units) = (config.hidden_dim, config.units());
    let means = units.len() * unit_rows(&units, rows) * d;
    let mixer = Mixer::new(config).map_or(0, |mixer| mixer.scratch_per_row(d));
    // The gradient of n; parts of the inner layer, of two kinds, or of the result; or the gradients of n and of the means.
    let inner = 2 * in_parts(&units).largest(format, rows, config.mlp_width().max(d));
    (rows * mixer).max(rows * d + inner.max(means))
}

/// `h <- h + gate * f(h)`, in place, after the cells are mixed.
///
/// # Shapes
/// `h` is `[rows, d]`, `scratch` holds [`scratch`] values.
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
    let (rows, units) = (h.len() / d, application.units);
    let at = Places::new(&application, rows, [d, wide]);
    let in_parts = in_parts(units);
    let (product_scratch, activation) =
        scratch.split_at_mut(in_parts.largest(tape.format, rows, wide.max(d)));

    let (gain, bias) = (&params.norm.weight.data, &params.norm.bias.data);
    let normalised = tape.normalised.get_mut(at.narrow.clone()).unwrap_or_default();
    let inv_std = tape.inv_std.get_mut(at.each).unwrap_or_default();
    let (means, messages) = (&mut tape.means[at.means], &mut tape.messages[at.messages]);
    for part in in_parts.of_rows(rows, d) {
        let (rows, values) = (part.rows.clone(), part.rows.start * d..part.rows.end * d);
        let normalised = normalised.get_mut(values.clone()).unwrap_or_default();
        let inv_std = inv_std.get_mut(rows).unwrap_or_default();
        tape.normed.make_input(at.slot, &part, activation, &packed.expand, |normed| {
            layer_norm_forward(&h[values], gain, bias, normalised, inv_std, normed);
            sum_units(units, normed, d, NINTH, means);
        });
    }
    for (k, mix) in packed.mix.iter().enumerate() {
        let [mean, message] = [of_kind(means, at.units * d, k), of_kind(messages, at.units * wide, k)];
        product(at.units, mean, mix, message, Overwrite::Yes);
    }
    let expand = (&packed.expand, &params.expand.bias.data[..]);
    let inner_in_parts = in_parts.and(packed.contract.inputs_in_parts());
    let next = &packed.contract;
    if tape.training {
        let slope = (&mut tape.slope, next);
        rows_forward_into(
            &tape.normed,
            at.slot,
            expand,
            slope,
            inner_in_parts,
            product_scratch,
            |part, inner| {
                add_to_members(units, messages, wide, 1.0, inner);
                tape.activation.make(at.slot, part, activation, |activation| {
                    gelu_forward(inner, activation);
                    application.drop_inner([activation, inner], wide, part);
                });
            },
        );
    } else {
        let activation = (&mut tape.activation, next);
        rows_forward_into(
            &tape.normed,
            at.slot,
            expand,
            activation,
            inner_in_parts,
            product_scratch,
            |_, inner| {
                add_to_members(units, messages, wide, 1.0, inner);
                gelu(inner, tape.format);
            },
        );
    }
    let contract = (&packed.contract, &params.contract.bias.data[..]);
    rows_forward_in_parts(&tape.activation, at.slot, contract, in_parts, product_scratch, |part, result| {
        application.drop_result(result, d, &part);
        gate_forward_part((h, d), &part, application.gate, result);
        tape.branch.put(at.slot, &part, result);
    });
}

/// The part of kind k, `values` numbers each.
fn of_kind(units: &mut [f32], values: usize, k: usize) -> &mut [f32] {
    &mut units[k * values..(k + 1) * values]
}

/// Turns `d_h`, the gradient of the block's result, into the gradient of its input, in place; leaves in the tape
/// what the weights' gradients are made of, and adds to `sums`.
///
/// # Shapes
/// `d_h` is `[rows, d]`; `scratch` holds [`scratch`] values.
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
    let (rows, units) = (d_h.len() / d, application.units);
    let at = Places::new(&application, rows, [d, wide]);
    let in_parts = in_parts(units);
    if !sums.gate.is_empty() {
        let branch = tape.branch.plain(at.slot.slot + 1, rows);
        gate_backward(d_h, &branch[at.narrow.clone()], &mut sums.gate);
    }
    for part in in_parts.of_rows(rows, d) {
        let d_h = &d_h[part.rows.start * d..part.rows.end * d];
        tape.d_branch.make(at.slot, &part, scratch, |d_branch| {
            d_branch.fill(0.0);
            gate_forward(d_branch, application.gate, d_h);
            application.drop_result(d_branch, d, &part);
            linear_backward_bias(d_branch, &mut sums.contract_bias);
        });
    }
    let d_messages = &mut tape.messages[at.messages];
    let (product_scratch, slope) = scratch.split_at_mut(in_parts.largest(tape.format, rows, wide));
    rows_backward_input_in_parts(
        &tape.d_branch,
        at.slot,
        &packed.contract,
        (wide, in_parts),
        product_scratch,
        |part, d_activation| {
            tape.slope.change(at.slot, &part, slope, |slope| {
                gelu_backward(d_activation, slope);
                linear_backward_bias(slope, &mut sums.expand_bias[part.columns.clone()]);
                sum_units(units, slope, wide, 1.0, d_messages);
            });
        },
    );
    let (d_normed, d_means) = scratch.split_at_mut(rows * d);
    rows_backward_input(&tape.slope, at.slot, &packed.expand, d_normed);
    let d_means = &mut d_means[..at.means.len()];
    for (k, mix) in packed.mix.iter().enumerate() {
        let [d_message, d_mean] =
            [of_kind(d_messages, at.units * wide, k), of_kind(d_means, at.units * d, k)];
        linear_backward_input(at.units, d_message, mix, d_mean);
    }
    add_to_members(units, d_means, d, NINTH, d_normed);
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
