//! The residual MLP block, `h <- h + gate * f(h)` with
//! `f(h) = Dropout(W2 Dropout(GELU(W1 n + b1)) + b2)` and `n = LayerNorm(h)`.
//!
//! With `mixing = "unit_mean"` GELU sees `W1 n + b1 + sum over kinds k of M_k mean_k(n)`, where `mean_k(n)` is the mean over
//! the row, column, box or cell that a vector lies in. With attention or a token MLP a block mixes the cells first (`mixer.rs`).
//!
//! The gate is the learned one under `update = "original"`. Otherwise blocks are pure transforms: it is 1 and no parameter.
//!
//! The numbers of the inner layer, which is the widest, are made part by part, so that they are still in the cache when GELU,
//! dropout and rounding come to them; how large a part is, [`InParts`] says.

use super::linear::Scaled;
use super::{LayerNorm, Linear, Mixer, MixerKind, MixerTape, NormTape, turn};
use crate::config::NetworkConfig;
use crate::network::{First, Id, Layout, Operands, PackedWeights, Role, Room, RowSums, Vectors};
use crate::ops::{
    Dropout, Format, InParts, Part, Rows, Slot, add_to_members, gate_backward, gate_forward,
    gate_forward_part, gelu, gelu_backward, gelu_forward, linear_backward_bias, linear_backward_input,
    product, rows_backward_input, rows_backward_input_in_parts, rows_forward_in_parts, rows_forward_into,
    sum_units, unit_rows,
};
use crate::sudoku::Units;
use std::ops::Range;
use trm_kernels::Overwrite;

/// Weight of each of the nine members in their mean.
const NINTH: f32 = 1.0 / 9.0;

/// The tensors and sizes of a block.
#[derive(Clone, Debug)]
pub struct Block {
    /// What mixes the cells before the MLP, if something does.
    mixer: Option<Mixer>,
    norm: LayerNorm,
    /// W1 and b1: d to wide.
    expand: Linear,
    /// M_k, `[wide, d]`, one for each kind of unit.
    mix: Vec<Id>,
    /// W2 and b2: wide to d.
    contract: Linear,
    d: usize,
    wide: usize,
}

/// Settings of one application of a block: its slot in the tape, its dropout masks and its gate.
#[derive(Clone, Copy, Debug)]
pub struct Application<'a> {
    /// Slot of this application in the tape.
    pub slot: usize,
    /// Dropout masks of this step.
    pub dropout: &'a Dropout,
    /// Sample of the first row.
    pub first_sample: usize,
    /// Vectors of one sample.
    pub tokens: usize,
    /// Kinds of units whose means are mixed in.
    pub units: &'a [Units],
    /// Number of this application among all of the recursion.
    pub site: usize,
    /// The gate that f(h) is multiplied by.
    pub gate: InnerGate<'a>,
}

/// The gate that the result of a block is multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct InnerGate<'a> {
    /// Values of the gate, `[1]` or `[d]`.
    pub values: &'a [f32],
    /// The sum that the gate's gradient is added to, if the gate is a parameter.
    pub sum: Option<Id>,
}

impl InnerGate<'_> {
    /// No gate: blocks are pure transforms.
    pub const NONE: InnerGate<'static> = InnerGate { values: &[1.0], sum: None };
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

    /// Applies dropout to the result of the mixer. Its sites are numbered behind the sites of the MLPs.
    pub fn drop_mixed(&self, values: &mut [f32], d: usize) {
        const BEHIND: usize = 1 << 31;
        let all = Part { rows: 0..values.len() / d, columns: 0..d };
        self.dropout.apply([values], [self.tokens, d], &all, self.first_sample, BEHIND | self.site);
    }
}

/// The values that a block keeps for its backward pass, each `[applications * rows, width]`. A row is a vector of the
/// state; `wide` is the width of the MLP's inner layer.
#[derive(Clone, Debug)]
pub struct BlockTape {
    /// Tape of the mixer of the cells.
    mixer: Option<MixerTape>,
    norm: NormTape,
    /// LayerNorm(h), width d: the input of W1.
    normed: Rows,
    /// `mean_k(n)`, `[applications, kinds, units, d]`: the input of M_k.
    means: Vec<f32>,
    /// `M_k mean_k(n)`, `[applications, kinds, units, wide]`; the backward pass makes it the gradient of that.
    messages: Vec<f32>,
    /// Slope of GELU with its dropout, wide; the backward pass makes it the gradient of W1's output.
    slope: Rows,
    /// Output of GELU and dropout, wide: the input of W2.
    activation: Rows,
    /// f(h), width d, where the gradient of a gate needs it.
    branch: Rows,
    /// Gradient of W2's output, width d, made by the backward pass.
    d_branch: Rows,
    /// What rows are rounded to.
    format: Format,
    /// Whether a backward pass follows.
    training: bool,
}

/// The size of a block's tape.
#[derive(Clone, Copy, Debug)]
pub struct TapeSize {
    /// Number format that rows are rounded to.
    pub format: Format,
    /// Applications of the block.
    pub applications: usize,
    /// Rows of an application.
    pub rows: usize,
    /// Whether a backward pass follows.
    pub training: bool,
    /// Whether a gate acts inside the block.
    pub gated: bool,
}

impl TapeSize {
    /// Applications that a backward pass follows.
    pub fn kept(self) -> usize {
        if self.training { self.applications } else { 0 }
    }

    /// Applications whose gate has a gradient.
    pub fn gated(self) -> usize {
        if self.gated { self.kept() } else { 0 }
    }
}

impl BlockTape {
    /// Room for what `size` says.
    pub fn new(block: &Block, kinds: &[Units], size: TapeSize, room: &mut Room) -> Self {
        let TapeSize { format, applications, rows, training, .. } = size;
        let (d, wide, kept) = (block.d, block.wide, size.kept());
        let units = kinds.len() * unit_rows(kinds, applications * rows);
        Self {
            mixer: block.mixer.as_ref().map(|mixer| MixerTape::new(mixer, size, room)),
            norm: NormTape::new(kept * rows, d, room),
            normed: room.rows(format, applications, rows, d),
            means: room.floats(units * d),
            messages: room.floats(units * wide),
            slope: room.rows(format, kept, rows, wide),
            activation: room.rows(format, applications, rows, wide),
            branch: room.rows(Format::F32, size.gated(), rows, d),
            d_branch: room.rows(format, kept, rows, d),
            format,
            training,
        }
    }
}

/// Where the values of one application stand in the parts of a tape.
struct Place {
    slot: Slot,
    /// Rows.
    each: Range<usize>,
    /// Units of a kind.
    units: usize,
    means: Range<usize>,
    messages: Range<usize>,
}

/// Units are summed over whole vectors; all else can be done part by part.
fn in_parts(units: &[Units]) -> InParts {
    if units.is_empty() { InParts::Yes } else { InParts::No }
}

impl Block {
    /// `NAME.net` and what mixes the vectors.
    pub fn new(layout: &mut Layout, name: &str, config: &NetworkConfig, mixer: Option<&MixerKind>) -> Self {
        let (d, wide, scale) = (config.hidden_dim, config.mlp_width(), config.init_scale as f32);
        let role = (Role::Matrix, turn::NETWORK);
        let mixer = mixer.map(|kind| Mixer::new(layout, name, config, kind.clone()));
        let norm = LayerNorm::new(layout, &format!("{name}.net.0"), d, scale);
        let expand = Linear::new(layout, &format!("{name}.net.1"), [d, wide], role, Scaled::Reading(scale));
        let first = First::uniform(d, turn::MIXING).times(scale);
        let mut mix = |units: &Units| {
            let name = format!("{name}.mix.{}.weight", units.name);
            layout.add(name, &[wide, d], Role::UnitMatrix, first)
        };
        let mix = config.units().iter().map(&mut mix).collect();
        let contract = Linear::new(layout, &format!("{name}.net.4"), [wide, d], role, Scaled::Making(scale));
        Self { mixer, norm, expand, mix, contract, d, wide }
    }

    /// Values that a pass over `rows` rows works in.
    pub fn scratch(&self, kinds: &[Units], format: Format, rows: usize) -> usize {
        let (d, in_parts) = (self.d, in_parts(kinds));
        let means = kinds.len() * unit_rows(kinds, rows) * d;
        let mixer = self.mixer.as_ref().map_or(0, Mixer::scratch_per_row);
        // The gradient of n; parts of the inner layer, of two kinds, or of the result; or the gradients of n and of the means.
        let inner = 2 * in_parts.largest(format, rows, self.wide.max(d));
        (rows * mixer).max(rows * d + inner.max(means))
    }

    /// Floating-point operations of a forward pass over a puzzle of so many vectors and units of a kind. A product of `[1, a]` by
    /// `[a, b]` counts 2ab.
    pub fn flops(&self, tokens: u64, units: u64) -> u64 {
        let product = 2 * (self.d * self.wide) as u64;
        let mixer = self.mixer.as_ref().map_or(0, Mixer::flops);
        // Two products for each vector, and one of each kind for each unit of nine.
        product * (2 * tokens + self.mix.len() as u64 * units) + mixer
    }

    /// `h <- h + gate * f(h)`, in place, after the cells are mixed.
    ///
    /// # Shapes
    /// `h` is `[rows, d]`, `scratch` holds [`Self::scratch`] values.
    pub fn forward(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        if let (Some(mixer), Some(tape)) = (&self.mixer, &mut tape.mixer) {
            mixer.forward(w, tape, h, scratch, application);
        }
        let at = self.place(&application, h.len() / self.d);
        self.normalise(w, tape, &at, h, scratch, application.units);
        self.mix_units(w, tape, &at);
        self.activate(w, tape, &at, scratch, application);
        self.contract(w, tape, &at, h, scratch, application);
    }

    /// `n = LayerNorm(h)`, and `mean_k(n)`
    fn normalise(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        at: &Place,
        h: &[f32],
        scratch: &mut [f32],
        units: &[Units],
    ) {
        let (d, first) = (self.d, at.each.start);
        let means = &mut tape.means[at.means.clone()];
        for part in in_parts(units).of_rows(at.slot.rows, d) {
            let h = &h[part.rows.start * d..part.rows.end * d];
            let rows = first + part.rows.start..first + part.rows.end;
            tape.normed.make_input(at.slot, &part, scratch, &w[self.expand.weight], |normed| {
                self.norm.forward(w, (&mut tape.norm, rows), h, normed);
                sum_units(units, normed, d, NINTH, means);
            });
        }
    }

    /// `m_k = M_k mean_k(n)`
    fn mix_units(&self, w: &PackedWeights, tape: &mut BlockTape, at: &Place) {
        let (means, messages) = (&tape.means[at.means.clone()], &mut tape.messages[at.messages.clone()]);
        for (k, mix) in self.mix.iter().enumerate() {
            let mean = &means[of_kind(at.units * self.d, k)];
            product(
                at.units,
                mean,
                &w[*mix],
                &mut messages[of_kind(at.units * self.wide, k)],
                Overwrite::Yes,
            );
        }
    }

    /// `a = Dropout(GELU(W1 n + b1 + sum over k of m_k))`
    fn activate(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        at: &Place,
        scratch: &mut [f32],
        application: Application,
    ) {
        let (wide, units, next) = (self.wide, application.units, &w[self.contract.weight]);
        let messages = &tape.messages[at.messages.clone()];
        let expand = self.expand.read(w);
        let (scratch, activation) = self.split(in_parts(units), tape.format, at, scratch);
        let in_parts = in_parts(units).and(next.inputs_in_parts());
        let (normed, slot) = (&tape.normed, at.slot);
        if tape.training {
            rows_forward_into(
                normed,
                slot,
                expand,
                (&mut tape.slope, next),
                in_parts,
                scratch,
                |part, inner| {
                    add_to_members(units, messages, wide, 1.0, inner);
                    tape.activation.make(slot, part, activation, |activation| {
                        gelu_forward(inner, activation);
                        application.drop_inner([activation, inner], wide, part);
                    });
                },
            );
        } else {
            let output = (&mut tape.activation, next);
            rows_forward_into(normed, slot, expand, output, in_parts, scratch, |_, inner| {
                add_to_members(units, messages, wide, 1.0, inner);
                gelu(inner, tape.format);
            });
        }
    }

    /// `h <- h + gate * Dropout(W2 a + b2)`
    fn contract(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        at: &Place,
        h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        let (d, in_parts) = (self.d, in_parts(application.units));
        let (scratch, _) = self.split(in_parts, tape.format, at, scratch);
        let contract = self.contract.read(w);
        rows_forward_in_parts(&tape.activation, at.slot, contract, in_parts, scratch, |part, result| {
            application.drop_result(result, d, &part);
            gate_forward_part((h, d), &part, application.gate.values, result);
            tape.branch.put(at.slot, &part, result);
        });
    }

    /// Room for parts of the inner layer, or of the result: of what a product makes, and of what is made of that.
    fn split<'a>(
        &self,
        in_parts: InParts,
        format: Format,
        at: &Place,
        scratch: &'a mut [f32],
    ) -> (&'a mut [f32], &'a mut [f32]) {
        scratch.split_at_mut(in_parts.largest(format, at.slot.rows, self.wide.max(self.d)))
    }

    /// Turns `d_h`, the gradient of the block's result, into the gradient of its input, in place; leaves in the tape what the
    /// gradients of the matrices are made of, and adds to `sums`.
    ///
    /// # Shapes
    /// `d_h` is `[rows, d]`; `scratch` holds [`Self::scratch`] values.
    pub fn backward(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        sums: &mut RowSums,
        d_h: &mut [f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        let at = self.place(&application, d_h.len() / self.d);
        self.contract_backward(tape, sums, &at, d_h, scratch, application);
        self.activate_backward(w, tape, sums, &at, scratch, application.units);
        let (d_normed, d_means) = scratch.split_at_mut(at.slot.rows * self.d);
        rows_backward_input(&tape.slope, at.slot, &w[self.expand.weight], d_normed);
        self.mix_units_backward(w, tape, &at, d_means, (d_normed, application.units));
        self.norm.backward(w, (&tape.norm, at.each), sums, d_normed, d_h);
        if let (Some(mixer), Some(tape)) = (&self.mixer, &mut tape.mixer) {
            mixer.backward(w, tape, sums, d_h, scratch, application);
        }
    }

    /// Computes the gradient of W2's output from `d_h`, and adds to the gradients of b2 and the gate.
    fn contract_backward(
        &self,
        tape: &mut BlockTape,
        sums: &mut RowSums,
        at: &Place,
        d_h: &[f32],
        scratch: &mut [f32],
        application: Application,
    ) {
        let d = self.d;
        if let Some(gate) = application.gate.sum {
            let branch = tape.branch.plain(at.slot.slot + 1, at.slot.rows);
            gate_backward(d_h, &branch[at.each.start * d..], &mut sums[gate]);
        }
        for part in in_parts(application.units).of_rows(at.slot.rows, d) {
            let d_h = &d_h[part.rows.start * d..part.rows.end * d];
            tape.d_branch.make(at.slot, &part, scratch, |d_branch| {
                d_branch.fill(0.0);
                gate_forward(d_branch, application.gate.values, d_h);
                application.drop_result(d_branch, d, &part);
                linear_backward_bias(d_branch, &mut sums[self.contract.bias]);
            });
        }
    }

    /// The gradients of W1's output, of b1, and of the messages.
    fn activate_backward(
        &self,
        w: &PackedWeights,
        tape: &mut BlockTape,
        sums: &mut RowSums,
        at: &Place,
        scratch: &mut [f32],
        units: &[Units],
    ) {
        let (wide, in_parts, slot) = (self.wide, in_parts(units), at.slot);
        let (scratch, slope) = scratch.split_at_mut(in_parts.largest(tape.format, slot.rows, wide));
        let d_messages = &mut tape.messages[at.messages.clone()];
        let (contract, size) = (&w[self.contract.weight], (wide, in_parts));
        rows_backward_input_in_parts(&tape.d_branch, slot, contract, size, scratch, |part, d_activation| {
            tape.slope.change(slot, &part, slope, |slope| {
                gelu_backward(d_activation, slope);
                linear_backward_bias(slope, &mut sums[self.expand.bias][part.columns.clone()]);
                sum_units(units, slope, wide, 1.0, d_messages);
            });
        });
    }

    /// Adds to the gradient of n what comes back by way of the means.
    fn mix_units_backward(
        &self,
        w: &PackedWeights,
        tape: &BlockTape,
        at: &Place,
        d_means: &mut [f32],
        (d_normed, units): (&mut [f32], &[Units]),
    ) {
        let d_messages = &tape.messages[at.messages.clone()];
        let d_means = &mut d_means[..at.means.len()];
        for (k, mix) in self.mix.iter().enumerate() {
            let d_mean = &mut d_means[of_kind(at.units * self.d, k)];
            linear_backward_input(at.units, &d_messages[of_kind(at.units * self.wide, k)], &w[*mix], d_mean);
        }
        add_to_members(units, d_means, self.d, NINTH, d_normed);
    }

    /// Inputs of each matrix, with the gradients of its outputs, in the first `applications` applications to `rows`
    /// rows each and `units` units of a kind each.
    pub fn operands<'a>(
        &self,
        tape: &'a BlockTape,
        [rows, units]: [usize; 2],
        applications: usize,
    ) -> Vec<Operands<'a>> {
        let kept = |kept: &'a Rows| Vectors::Kept { kept, slots: applications, rows };
        let mut operands = Vec::new();
        if let (Some(mixer), Some(tape)) = (&self.mixer, &tape.mixer) {
            operands.extend(mixer.operands(tape, rows, applications));
        }
        let (expand, contract) = (self.expand.weight, self.contract.weight);
        let [input, d_output] = [&tape.normed, &tape.slope].map(kept);
        operands.push(Operands { weight: expand, input, d_output });
        let [input, d_output] = [&tape.activation, &tape.d_branch].map(kept);
        operands.push(Operands { weight: contract, input, d_output });
        let kinds = self.mix.len();
        for (k, weight) in self.mix.iter().enumerate() {
            for place in (0..applications).map(|slot| (slot * kinds + k) * units) {
                let part = |values: &'a [f32], width: usize| {
                    Vectors::Plain(&values[place * width..(place + units) * width])
                };
                let (input, d_output) = (part(&tape.means, self.d), part(&tape.messages, self.wide));
                operands.push(Operands { weight: *weight, input, d_output });
            }
        }
        operands
    }

    /// W1 and b1, M_k, W2 and b2: what a unit of the inner layer is made of.
    pub fn mlp(&self) -> (Linear, &[Id], Linear) {
        (self.expand, &self.mix, self.contract)
    }

    fn place(&self, application: &Application, rows: usize) -> Place {
        let place = |values: usize| application.slot * values..(application.slot + 1) * values;
        let units = unit_rows(application.units, rows);
        let all = application.units.len() * units;
        Place {
            slot: Slot { slot: application.slot, rows },
            each: place(rows),
            units,
            means: place(all * self.d),
            messages: place(all * self.wide),
        }
    }
}

/// The part of kind k, `values` numbers each.
fn of_kind(values: usize, k: usize) -> Range<usize> {
    k * values..(k + 1) * values
}
