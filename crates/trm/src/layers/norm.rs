//! Layer normalisation of what a layer reads, and division of a state by its root mean square.

use crate::network::{First, Id, Layout, PackedWeights, Role, Room, RowSums};
use crate::ops::{layer_norm_backward, layer_norm_forward, rms_norm_backward, rms_norm_forward};
use std::ops::Range;

/// `n = gain * (h - mean) / std + bias`, row by row.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// `[d]`
    pub gain: Id,
    /// `[d]`
    pub bias: Id,
}

/// The values that layer normalisation of some rows keeps for the backward pass.
#[derive(Clone, Debug, Default)]
pub struct NormTape {
    /// Rows before gain and bias, `[rows, d]`.
    normalised: Vec<f32>,
    /// `1 / std`, `[rows]`.
    inv_std: Vec<f32>,
}

impl NormTape {
    /// Room for so many rows; none where nothing is kept.
    pub fn new(rows: usize, d: usize, room: &mut Room) -> Self {
        Self { normalised: room.floats(rows * d), inv_std: room.floats(rows) }
    }

    /// Takes another number of rows.
    pub fn resize(&mut self, rows: usize, d: usize) {
        self.normalised.resize(rows * d, 0.0);
        self.inv_std.resize(rows, 0.0);
    }
}

impl LayerNorm {
    /// `name.weight` and `name.bias`, the identity at first; the gain over `scale`, the size of the first states.
    pub fn new(layout: &mut Layout, name: &str, d: usize, scale: f32) -> Self {
        Self {
            gain: layout.add(format!("{name}.weight"), &[d], Role::Gain, First::constant(1.0).over(scale)),
            bias: layout.add(format!("{name}.bias"), &[d], Role::Bias, First::constant(0.0)),
        }
    }

    /// Normalises `input` to `output`, and keeps what backward needs in the rows `at` of the tape, if it has room.
    ///
    /// # Shapes
    /// `input` and `output` are `[rows, d]`.
    pub fn forward(
        &self,
        w: &PackedWeights,
        (tape, at): (&mut NormTape, Range<usize>),
        input: &[f32],
        output: &mut [f32],
    ) {
        let (gain, bias) = (w.values(self.gain), w.values(self.bias));
        let values = at.start * gain.len()..at.end * gain.len();
        let normalised = tape.normalised.get_mut(values).unwrap_or_default();
        let inv_std = tape.inv_std.get_mut(at).unwrap_or_default();
        layer_norm_forward(input, gain, bias, normalised, inv_std, output);
    }

    /// Adds the gradient of the input to `d_input`, and the gradients of gain and bias to `sums`; uses up `d_output`.
    ///
    /// # Shapes
    /// `d_output` and `d_input` are `[rows, d]` of the rows `at` of the tape.
    pub fn backward(
        &self,
        w: &PackedWeights,
        (tape, at): (&NormTape, Range<usize>),
        sums: &mut RowSums,
        d_output: &mut [f32],
        d_input: &mut [f32],
    ) {
        let gain = w.values(self.gain);
        let normalised = &tape.normalised[at.start * gain.len()..at.end * gain.len()];
        let sums = sums.pair([self.gain, self.bias]);
        layer_norm_backward(d_output, normalised, &tape.inv_std[at], gain, d_input, sums);
    }
}

/// `z <- z / rms(z)`, row by row, with `state_norm = true`; else nothing. It has no tensors.
#[derive(Clone, Copy, Debug)]
pub struct StateNorm {
    is_on: bool,
    d: usize,
}

/// The values that repeated normalisation of a state keeps for the backward pass.
#[derive(Clone, Debug, Default)]
pub struct StateNormTape {
    /// The normalised state, `[applications, rows, d]`.
    normalised: Vec<f32>,
    /// `1 / rms`, `[applications, rows]`.
    inv_rms: Vec<f32>,
}

impl StateNormTape {
    /// Room for applications to so many rows in all.
    pub fn new(norm: StateNorm, rows: usize, room: &mut Room) -> Self {
        let rows = if norm.is_on { rows } else { 0 };
        Self { normalised: room.floats(rows * norm.d), inv_rms: room.floats(rows) }
    }

    fn slot(&mut self, slot: usize, values: usize, d: usize) -> (&mut [f32], &mut [f32]) {
        let place = |len: usize| slot * len..(slot + 1) * len;
        (&mut self.normalised[place(values)], &mut self.inv_rms[place(values / d)])
    }
}

impl StateNorm {
    /// On or off, for rows of d numbers.
    pub fn new(is_on: bool, d: usize) -> Self {
        Self { is_on, d }
    }

    /// Normalises a state, `[rows, d]`, and keeps what backward needs in a slot of the tape.
    pub fn forward(self, tape: &mut StateNormTape, slot: usize, state: &mut [f32]) {
        if self.is_on {
            let (normalised, inv_rms) = tape.slot(slot, state.len(), self.d);
            rms_norm_forward(self.d, state, inv_rms);
            normalised.copy_from_slice(state);
        }
    }

    /// Turns the gradient of the normalised state, `[rows, d]`, into the gradient of the state before.
    pub fn backward(self, tape: &mut StateNormTape, slot: usize, d_state: &mut [f32]) {
        if self.is_on {
            let (normalised, inv_rms) = tape.slot(slot, d_state.len(), self.d);
            rms_norm_backward(self.d, d_state, normalised, inv_rms);
        }
    }
}
