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

use super::Network;
use super::hypotheses::revise_all;
use super::network::gates_blocks;
use super::recording::{Recording, RefinementTape};
use super::shard::Shard;
use crate::config::{NetworkConfig, Supervision, Update};
use crate::layers::{Application, InnerGate};
use crate::network::{Id, PackedWeights, Room, Weights};
use crate::ops::{Dropout, Format, QuantisedWeight, gate_forward, sum_of};
use crate::parallel::Threads;
use crate::sudoku::Units;
use rand::Rng;

/// A model ready to run: configuration, layers, and their weights as the forward pass reads them.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) config: NetworkConfig,
    pub(super) network: Network,
    pub(super) weights: PackedWeights,
    format: Format,
    rows_format: Format,
}

impl Model {
    /// A model with these weights, which [`Network::layout`] lists.
    pub fn new(config: NetworkConfig, weights: Weights, threads: &Threads) -> Self {
        let (network, format) = (Network::new(&config).0, config.precision.format());
        let weights = PackedWeights::new(weights, format, threads);
        Self { config, network, weights, format, rows_format: format }
    }

    /// A model with first values, drawn from the configuration's seed.
    pub fn first(config: NetworkConfig, threads: &Threads) -> Self {
        let weights = Network::first_weights(&config, config.seed);
        Self::new(config, weights, threads)
    }

    /// A model whose matrices are quantised where `quantised`, by name, has them. It cannot be trained. The f32 values
    /// of those matrices in `weights` are never read.
    pub fn quantised(
        config: NetworkConfig,
        weights: Weights,
        quantised: &[(String, QuantisedWeight)],
        threads: &Threads,
    ) -> Self {
        let (network, format) = (Network::new(&config).0, config.precision.format());
        let weights = PackedWeights::quantised(weights, format, quantised, threads);
        let rows_format = if weights.is_quantised() { Format::Quantised } else { Format::F32 };
        Self { config, network, weights, format, rows_format }
    }

    /// The configuration of the model.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The layers of the model.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Number format of the model's matrix products.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number format that blocks round their rows to for the products with matrices.
    pub fn rows_format(&self) -> Format {
        self.rows_format
    }

    /// The weights of the model as they are trained.
    pub fn weights(&self) -> &Weights {
        self.weights.plain()
    }

    /// Room for some puzzles, in the format of this model's products.
    pub fn shard(&self, puzzles: usize, recording: Recording) -> Shard {
        self.shard_of(self.rows_format, puzzles, recording)
    }

    /// Room for some puzzles, whose rows are rounded to `format` for products.
    pub(super) fn shard_of(&self, format: Format, puzzles: usize, recording: Recording) -> Shard {
        let layers = (&self.network, &**self.weights().layout());
        Shard::new(&self.config, layers, format, puzzles, recording, &mut Room::real())
    }

    /// Lets `update` change the weights.
    pub fn update_weights<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R {
        self.weights.update(threads, update)
    }

    /// The whole forward pass, from the states that the shard is in: H_cycles outer cycles, then the logits.
    pub fn forward(&self, s: &mut Shard, dropout: &Dropout) {
        self.forward_observed(s, dropout, |_, _| {});
    }

    /// The whole forward pass, from the states that the shard is in. `observe` is called with the shard and h after
    /// each outer cycle h.
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
        self.network.embedding.forward(&self.weights, &s.inputs, &mut s.x_emb);
        if let (Some(feedback), Some(answers)) = (&self.network.feedback, &mut s.answers) {
            feedback.see_newest(&self.weights, answers, &s.x_emb);
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

    /// Runs outer cycle h.
    pub fn cycle(&self, s: &mut Shard, h: usize, dropout: &Dropout) {
        for l in 0..self.config.l_cycles {
            self.refine_latent(s, h, l, dropout);
        }
        self.refine_output(s, h, dropout);
    }

    /// `z <- z + alpha R(x_emb + y + z)`
    pub fn refine_latent(&self, s: &mut Shard, h: usize, l: usize, dropout: &Dropout) {
        let x_emb = s.answers.as_ref().map_or(&s.x_emb, |answers| &answers.seen);
        match self.config.update {
            Update::Single => sum_of([x_emb, &s.z], &mut s.h),
            Update::Documented | Update::Original => sum_of([x_emb, &s.y, &s.z], &mut s.h),
        }
        let (gate, at) = (self.network.latent_gate, self.place(s, h, l));
        let application = self.application(&at, gate, &s.units, dropout);
        let (w, tape) = (&self.weights, &mut s.tapes[at.cycle].latent);
        self.network.latent.forward(w, &mut tape.stack, &mut s.h, &mut s.scratch, application);
        self.update_state(&mut s.z, &s.h, gate);
        self.network.state_norm.forward(&mut tape.norm, at.slot, &mut s.z);
        tape.keep_result(&s.h, at.slot);
    }

    /// `y <- y + beta O(y + z)`
    pub fn refine_output(&self, s: &mut Shard, h: usize, dropout: &Dropout) {
        if self.config.update == Update::Single {
            return s.y.copy_from_slice(&s.z);
        }
        sum_of([&s.y, &s.z], &mut s.h);
        let (gate, at) = (self.network.output_gate, self.place_of_output(s, h));
        let application = self.application(&at, gate, &s.units, dropout);
        let (w, tape) = (&self.weights, &mut s.tapes[at.cycle].output);
        self.network.output.forward(w, &mut tape.stack, &mut s.h, &mut s.scratch, application);
        self.update_state(&mut s.y, &s.h, gate);
        self.network.state_norm.forward(&mut tape.norm, at.slot, &mut s.y);
        tape.keep_result(&s.h, at.slot);
    }

    /// `logits = W_out y + b_out`, or `W_out LayerNorm(y) + b_out` with `output_norm = true`
    ///
    /// With `feedback = true` the next outer cycle sees this answer.
    pub fn read_out(&self, s: &mut Shard) {
        self.read_out_after(s, self.config.h_cycles - 1);
        if let (Some(feedback), Some(answers)) = (&self.network.feedback, &mut s.answers) {
            feedback.take(answers, &s.logits);
            feedback.see_newest(&self.weights, answers, &s.x_emb);
        }
    }

    /// The logits of the answer after outer cycle h: the newest, or one whose state the forward pass kept.
    pub(super) fn read_out_after(&self, s: &mut Shard, h: usize) {
        let y = s.starts.get(h + 1).map_or(&s.y, |(y, _)| y);
        let read_out = &self.network.read_out;
        match &mut s.open {
            None => read_out.forward(&self.weights, &mut s.answer, y, &mut s.logits),
            Some(open) => {
                read_out.forward(&self.weights, &mut s.answer, y, &mut open.logits);
                open.spread_logits(&s.cells, &mut s.logits);
            }
        }
    }

    fn update_state(&self, state: &mut [f32], result: &[f32], gate: Id) {
        match self.config.update {
            Update::Documented => gate_forward(state, self.weights.values(gate), result),
            Update::Original | Update::Single => state.copy_from_slice(result),
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

    /// Where refinement l of z in outer cycle h stands.
    pub(super) fn place(&self, s: &Shard, h: usize, l: usize) -> Place {
        let c = &self.config;
        let layers = c.l_layers.max(c.output_layers);
        Place {
            cycle: h % s.tapes.len(),
            slot: if s.recording() == Recording::Nothing { 0 } else { l },
            site: (h * (c.l_cycles + 1) + l) * layers,
            first_sample: s.first_sample,
            tokens: s.rows / s.puzzles,
        }
    }

    /// Where the refinement of y in outer cycle h stands.
    pub(super) fn place_of_output(&self, s: &Shard, h: usize) -> Place {
        Place { slot: 0, ..self.place(s, h, self.config.l_cycles) }
    }

    /// What the blocks of a stack are told of the refinement at `at`.
    pub(super) fn application<'a>(
        &'a self,
        at: &Place,
        gate: Id,
        units: &'a [Units],
        dropout: &'a Dropout,
    ) -> Application<'a> {
        let inner = InnerGate { values: self.weights.values(gate), sum: Some(gate) };
        Application {
            slot: at.slot,
            dropout,
            first_sample: at.first_sample,
            tokens: at.tokens,
            units,
            site: at.site,
            gate: if gates_blocks(&self.config) { inner } else { InnerGate::NONE },
        }
    }
}

impl RefinementTape {
    /// Keeps a stack's result for the gradient of the gate that is applied to it, where there is room.
    fn keep_result(&mut self, result: &[f32], slot: usize) {
        if !self.result.is_empty() {
            self.result[slot * result.len()..(slot + 1) * result.len()].copy_from_slice(result);
        }
    }
}

/// Where a refinement stands: in the tapes, and among all refinements.
pub(super) struct Place {
    /// Index of the tape of the refinement's outer cycle.
    pub cycle: usize,
    /// Slot of the refinement in that tape.
    pub slot: usize,
    /// Number of the refinement's first block among all applications of blocks; dropout masks depend on it.
    pub site: usize,
    first_sample: usize,
    tokens: usize,
}
