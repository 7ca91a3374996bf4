//! The recursion of SPEC.md, "Iterative Reasoning Loops"; `backward.rs` has its gradients.
//!
//! ```text
//! x_emb = W_in x + b_in;  y = z = 0
//! H_cycles times:
//!     L_cycles times:  z <- z + alpha R(x_emb + y + z)
//!                      y <- y + beta  O(y + z)
//! logits = W_out y + b_out
//! ```
//!
//! With `update = "original"` the stacks gate each block and their result replaces the state. With `update = "single"` there
//! is one state, `z <- R(x_emb + z)`, from which the answer is read off: `y <- z`. With `state_norm = true` every new state is
//! divided by its root mean square.

use super::block::Application;
use super::cycle_tape::{NormTape, Recording};
use super::hypotheses::revise_all;
use super::mixer::Mixer;
use super::packed::Packed;
use super::params::Params;
use super::shard::Shard;
use super::stack::Stack;
use crate::config::{NetworkConfig, Supervision, Update};
use crate::ops::{
    Dropout, Format, QuantisedWeight, RowsFormat, add_positions, gate_forward, layer_norm_forward,
    linear_forward, one_hot_linear_forward, rms_norm_forward, sum_of,
};
use crate::parallel::Threads;
use crate::sudoku::Units;
use rand::Rng;

/// A model ready to run: configuration, parameters, and the parameters as the forward pass reads them.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) config: NetworkConfig,
    pub(super) params: Params,
    pub(super) packed: Packed,
    format: Format,
    rows_format: RowsFormat,
    pub(super) mixer: Option<Mixer>,
}

impl Model {
    /// A model with these parameters.
    pub fn new(config: NetworkConfig, params: Params, threads: &Threads) -> Self {
        let format = config.precision.format();
        let packed = Packed::new(&params, format, threads);
        let mixer = Mixer::new(&config);
        Self { config, params, packed, format, rows_format: format, mixer }
    }

    /// A model whose matrices are whole numbers where `quantised`, by name, has them; it cannot be trained. The f32 values of
    /// those in `params` are never read.
    pub fn quantised(
        config: NetworkConfig,
        params: Params,
        quantised: &[(String, QuantisedWeight)],
        threads: &Threads,
    ) -> Self {
        let format = config.precision.format();
        let named = |name: &String| quantised.iter().find(|(n, _)| n == name).map(|(_, weight)| weight);
        let weights: Vec<_> = Params::matrix_names(&config).iter().map(named).collect();
        let packed = Packed::quantised(&params, format, &weights, threads);
        let mixer = Mixer::new(&config);
        let rows_format = if packed.is_quantised() { RowsFormat::Quantised } else { RowsFormat::F32 };
        Self { config, params, packed, format, rows_format, mixer }
    }

    /// Its configuration.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Number format of its matrix products.
    pub fn format(&self) -> Format {
        self.format
    }

    /// What the rows that blocks keep for their products are rounded to.
    pub fn rows_format(&self) -> RowsFormat {
        self.rows_format
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Lets `update` change the parameters.
    pub fn update_params<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Params) -> R) -> R {
        let result = update(&mut self.params);
        self.packed.update(&self.params, threads);
        result
    }

    /// The whole forward pass, from the states that the shard is in: H_cycles outer cycles, then the logits.
    pub fn forward(&self, s: &mut Shard, dropout: &Dropout) {
        self.forward_observed(s, dropout, |_, _| {});
    }

    /// The same, shown to `observe` after each outer cycle h.
    pub fn forward_observed(&self, s: &mut Shard, dropout: &Dropout, mut observe: impl FnMut(&Shard, usize)) {
        self.embed(s);
        for h in 0..self.config.h_cycles {
            if let Some((y, z)) = s.starts.get_mut(h) {
                y.copy_from_slice(&s.y);
                z.copy_from_slice(&s.z);
            }
            if h > 0 && self.config.feedback {
                self.read_out(s);
            }
            self.cycle(s, h, dropout);
            observe(s, h);
        }
        self.read_out(s);
    }

    /// `x_emb = W_in x + b_in`, and the vectors of each cell's place.
    pub fn embed(&self, s: &mut Shard) {
        one_hot_linear_forward(
            &s.inputs,
            self.config.state.channels(),
            &self.packed.input_t,
            &self.params.input_proj.bias.data,
            &mut s.x_emb,
        );
        for (table, vectors) in self.config.position_tables().iter().zip(&self.params.positions) {
            add_positions(table.place_of, &vectors.data, self.config.hidden_dim, &mut s.x_emb);
        }
        if let (Some(feedback), Some(weight)) = (&mut s.feedback, &self.packed.feedback) {
            feedback.see_newest(&s.x_emb, weight);
        }
    }

    /// Between two segments: revises what is assumed by the newest answer, with random numbers for each puzzle, if the
    /// configuration has the recursion assume anything.
    pub fn revise_hypotheses(&self, s: &mut Shard, random: &mut [impl Rng]) {
        if !self.config.hypotheses {
            return;
        }
        let mut assumed = s.assumed.clone();
        revise_all(&s.cells, &s.logits, &mut assumed, random);
        s.assume(&assumed);
        self.embed(s);
    }

    /// One outer cycle.
    pub fn cycle(&self, s: &mut Shard, h: usize, dropout: &Dropout) {
        for l in 0..self.config.l_cycles {
            self.refine_latent(s, h, l, dropout);
        }
        self.refine_output(s, h, dropout);
    }

    /// `z <- z + alpha R(x_emb + y + z)`
    pub fn refine_latent(&self, s: &mut Shard, h: usize, l: usize, dropout: &Dropout) {
        let x_emb = s.feedback.as_ref().map_or(&s.x_emb, |feedback| &feedback.seen);
        match self.config.update {
            Update::Single => sum_of([x_emb, &s.z], &mut s.h),
            Update::Documented | Update::Original => sum_of([x_emb, &s.y, &s.z], &mut s.h),
        }
        let units = s.units.clone();
        let at = self.place(s, h, l, (&units, dropout));
        let stack = Stack { params: &self.params.latent_layers, packed: &self.packed.latent };
        stack.forward(&mut s.tapes[at.cycle].latent, &mut s.h, &mut s.scratch, at.application);
        self.update_state(&mut s.z, &s.h, &self.params.latent_gate.data);
        self.normalise(&mut s.tapes[at.cycle].latent_norm, &mut s.z, at.application.slot);
        self.keep(&mut s.tapes[at.cycle].latent_result, &s.h, at.application.slot);
    }

    /// `y <- y + beta O(y + z)`
    pub fn refine_output(&self, s: &mut Shard, h: usize, dropout: &Dropout) {
        if self.config.update == Update::Single {
            return s.y.copy_from_slice(&s.z);
        }
        sum_of([&s.y, &s.z], &mut s.h);
        let units = s.units.clone();
        let at = self.place_of_output(s, h, (&units, dropout));
        let stack = Stack { params: &self.params.output_layers, packed: &self.packed.output };
        stack.forward(&mut s.tapes[at.cycle].output, &mut s.h, &mut s.scratch, at.application);
        self.update_state(&mut s.y, &s.h, &self.params.output_gate.data);
        self.normalise(&mut s.tapes[at.cycle].output_norm, &mut s.y, at.application.slot);
        self.keep(&mut s.tapes[at.cycle].output_result, &s.h, at.application.slot);
    }

    /// `logits = W_out y + b_out`, or `W_out LayerNorm(y) + b_out` with `output_norm = true`
    ///
    /// With `feedback = true` the next outer cycle sees this answer.
    pub fn read_out(&self, s: &mut Shard) {
        self.read_out_after(s, self.config.h_cycles - 1);
        if let (Some(feedback), Some(weight)) = (&mut s.feedback, &self.packed.feedback) {
            feedback.take(&s.logits);
            feedback.see_newest(&s.x_emb, weight);
        }
    }

    /// The logits of the answer after outer cycle h: the newest, or one whose state the forward pass kept.
    pub(super) fn read_out_after(&self, s: &mut Shard, h: usize) {
        let y = s.starts.get(h + 1).map_or(&s.y, |(y, _)| y);
        match &self.params.output_norm {
            None => s.answer.copy_from_slice(y),
            Some(norm) => {
                let (normalised, inv_std) = &mut s.answer_norm;
                let (gain, bias) = (&norm.weight.data, &norm.bias.data);
                layer_norm_forward(y, gain, bias, normalised, inv_std, &mut s.answer);
            }
        }
        let bias = &self.params.output_proj.bias.data;
        match &mut s.open {
            None => linear_forward(&s.answer, &self.packed.output_proj, bias, &mut s.logits),
            Some(open) => {
                linear_forward(&s.answer, &self.packed.output_proj, bias, &mut open.logits);
                open.spread_logits(&s.cells, &mut s.logits);
            }
        }
    }

    fn update_state(&self, state: &mut [f32], result: &[f32], gate: &[f32]) {
        match self.config.update {
            Update::Documented => gate_forward(state, gate, result),
            Update::Original | Update::Single => state.copy_from_slice(result),
        }
    }

    /// Divides a new state by its root mean square, if that is asked for, and keeps what the gradient needs.
    fn normalise(&self, tape: &mut NormTape, state: &mut [f32], slot: usize) {
        if self.config.state_norm {
            let (normalised, inv_rms) = tape.slot(slot, state.len(), self.config.hidden_dim);
            rms_norm_forward(self.config.hidden_dim, state, inv_rms);
            normalised.copy_from_slice(state);
        }
    }

    /// Whether the loss is taken of the answer after outer cycle h.
    pub fn is_supervised(&self, h: usize) -> bool {
        self.config.supervision == Supervision::Every || h + 1 == self.config.h_cycles
    }

    /// Whether anything depends on the logits after outer cycle h: the loss or, by feedback, the next cycle.
    pub fn is_read_out(&self, h: usize) -> bool {
        self.is_supervised(h) || self.config.feedback
    }

    /// Keeps a stack's result for the gradient of the gate, where the gate is applied to it.
    fn keep(&self, results: &mut [f32], result: &[f32], slot: usize) {
        if self.config.update == Update::Documented && !results.is_empty() {
            results[slot * result.len()..(slot + 1) * result.len()].copy_from_slice(result);
        }
    }

    pub(super) fn place<'a>(
        &'a self,
        s: &Shard,
        h: usize,
        l: usize,
        with: (&'a [Units], &'a Dropout),
    ) -> Place<'a> {
        self.numbered(s, h, l, &self.params.latent_gate.data, with)
    }

    pub(super) fn place_of_output<'a>(
        &'a self,
        s: &Shard,
        h: usize,
        with: (&'a [Units], &'a Dropout),
    ) -> Place<'a> {
        let mut at = self.numbered(s, h, self.config.l_cycles, &self.params.output_gate.data, with);
        at.application.slot = 0;
        at
    }

    fn numbered<'a>(
        &'a self,
        s: &Shard,
        h: usize,
        l: usize,
        gate: &'a [f32],
        (units, dropout): (&'a [Units], &'a Dropout),
    ) -> Place<'a> {
        let c = &self.config;
        let layers = c.l_layers.max(c.output_layers);
        let application = Application {
            slot: if s.recording() == Recording::Nothing { 0 } else { l },
            dropout,
            first_sample: s.first_sample,
            tokens: s.rows / s.puzzles,
            units,
            mixer: self.mixer.as_ref(),
            site: (h * (c.l_cycles + 1) + l) * layers,
            gate: if c.update == Update::Original { gate } else { &[1.0] },
        };
        Place { cycle: h % s.tapes.len(), application }
    }
}

/// Where in the tape, and which dropout masks, a refinement uses.
pub(super) struct Place<'a> {
    pub cycle: usize,
    pub application: Application<'a>,
}
