//! The answer as logits: `W_out y + b_out`, or `W_out LayerNorm(y) + b_out` with `output_norm = true`.

use super::linear::Scaled;
use super::{LayerNorm, Linear, NormTape, turn};
use crate::config::NetworkConfig;
use crate::network::{Layout, Operands, PackedWeights, Role, Room, RowSums, Vectors};
use crate::ops::{add_scaled, linear_backward_input, linear_forward};

/// The norm, if there is one, and the map to logits.
#[derive(Clone, Debug)]
pub struct ReadOut {
    norm: Option<LayerNorm>,
    projection: Linear,
    d: usize,
    logits: usize,
}

/// The values that reading off one answer keeps for the backward pass.
#[derive(Clone, Debug)]
pub struct ReadOutTape {
    /// Input of W_out: y or LayerNorm(y), `[rows, d]`.
    pub input: Vec<f32>,
    norm: NormTape,
}

impl ReadOutTape {
    /// Room for some rows.
    pub fn new(read_out: &ReadOut, rows: usize, room: &mut Room) -> Self {
        let normed = if read_out.norm.is_some() { rows } else { 0 };
        Self { input: room.floats(rows * read_out.d), norm: NormTape::new(normed, read_out.d, room) }
    }

    /// Takes another number of rows.
    pub fn resize(&mut self, read_out: &ReadOut, rows: usize) {
        self.input.resize(rows * read_out.d, 0.0);
        if read_out.norm.is_some() {
            self.norm.resize(rows, read_out.d);
        }
    }
}

impl ReadOut {
    /// `output_norm` and `output_proj`.
    pub fn new(layout: &mut Layout, config: &NetworkConfig) -> Self {
        let (d, [_, logits]) = (config.hidden_dim, config.state.widths());
        // First logits are as much smaller as the first states are.
        let norm = config.output_norm.then(|| LayerNorm::new(layout, "output_norm", d, 1.0));
        let role = (Role::ReadOut, turn::NETWORK);
        Self {
            norm,
            projection: Linear::new(layout, "output_proj", [d, logits], role, Scaled::No),
            d,
            logits,
        }
    }

    /// The logits of an answer.
    ///
    /// # Shapes
    /// `y` is `[rows, d]`, `logits` is `[rows, logits of a row]`.
    pub fn forward(&self, w: &PackedWeights, tape: &mut ReadOutTape, y: &[f32], logits: &mut [f32]) {
        match &self.norm {
            None => tape.input.copy_from_slice(y),
            Some(norm) => norm.forward(w, (&mut tape.norm, 0..y.len() / self.d), y, &mut tape.input),
        }
        let (weight, bias) = self.projection.read(w);
        linear_forward(&tape.input, weight, bias, logits);
    }

    /// Adds the gradient of the answer to `d_y`, and the gradients of the norm to `sums`; works in `d_input`.
    ///
    /// # Shapes
    /// `d_logits` is `[rows, logits of a row]`, `d_y` and `d_input` are `[rows, d]`.
    pub fn backward(
        &self,
        w: &PackedWeights,
        tape: &ReadOutTape,
        sums: &mut RowSums,
        d_logits: &[f32],
        d_input: &mut [f32],
        d_y: &mut [f32],
    ) {
        let rows = d_input.len() / self.d;
        linear_backward_input(rows, d_logits, &w[self.projection.weight], d_input);
        match &self.norm {
            None => add_scaled(d_y, 1.0, d_input),
            Some(norm) => norm.backward(w, (&tape.norm, 0..rows), sums, d_input, d_y),
        }
    }

    /// Input of W_out, with the gradient of its output.
    pub fn operands<'a>(&self, tape: &'a ReadOutTape, d_logits: &'a [f32]) -> Operands<'a> {
        let [input, d_output] = [&tape.input, d_logits].map(Vectors::Plain);
        Operands { weight: self.projection.weight, input, d_output }
    }

    /// W_out and b_out.
    pub fn projection(&self) -> Linear {
        self.projection
    }

    /// Floating-point operations of the forward pass for each row.
    pub fn flops(&self) -> u64 {
        2 * (self.d * self.logits) as u64
    }
}
