//! One segment of one puzzle, forward and backward.

use super::board::Board;
use super::{BLANK, Config, Network, VOCABULARY};
use crate::network::{PackedWeights, Room, Weights};
use crate::ops::{
    Format, add_scaled, binary_cross_entropy_backward, dot, embedding_backward, embedding_forward,
    linear_backward_input, linear_backward_weight, product, stablemax_cross_entropy_backward,
};
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use trm_kernels::Overwrite;

/// What the halting loss counts beside the cross-entropy.
pub(super) const HALTING_WEIGHT: f32 = 0.5;

/// A model ready to run: configuration, layers, and their weights as products read them.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    network: Network,
    weights: PackedWeights,
    format: Format,
}

impl Model {
    /// A model with these weights, which [`Network::layout`] lists.
    pub fn new(config: Config, weights: Weights, threads: &Threads) -> Self {
        let (network, format) = (Network::new(&config).0, config.precision.format());
        Self { weights: PackedWeights::new(weights, format, threads), config, network, format }
    }

    /// The configuration of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The layers of the model.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The weights of the model as they are trained.
    pub fn weights(&self) -> &Weights {
        self.weights.plain()
    }

    /// Lets `update` change the weights.
    pub fn update_weights<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R {
        self.weights.update(threads, update)
    }

    /// Room for a puzzle, and for the backward pass if `recording`.
    pub fn board(&self, recording: bool) -> Board {
        Board::new(&self.network, &self.config, recording, &mut Room::real())
    }

    /// `x_emb = sqrt(d) [puzzle embedding, token embeddings]`
    pub(super) fn embed(&self, b: &mut Board, cells: &[u8]) {
        let (d, scale) = (self.config.hidden_size, self.embedding_scale());
        b.cells.clear();
        b.cells.extend(cells.iter().map(|cell| BLANK + cell));
        let (prefix, tokens) = b.x_emb.split_at_mut(self.config.puzzle_emb_len * d);
        let puzzle = &self.weights.values(self.network.puzzle_emb)[..self.config.puzzle_emb_ndim];
        prefix.fill(0.0);
        add_scaled(&mut prefix[..puzzle.len()], scale, puzzle);
        let table = self.weights.values(self.network.embed_tokens);
        embedding_forward(&b.cells, table, d, scale, tokens);
    }

    fn embedding_scale(&self) -> f32 {
        (self.config.hidden_size as f32).sqrt()
    }

    /// All outer cycles from the states in `b`, then the readout.
    pub(super) fn segment(&self, b: &mut Board) {
        for h in 0..self.config.h_cycles {
            let recorded = b.is_recording() && h + 1 == self.config.h_cycles;
            for l in 0..self.config.l_cycles {
                self.refine_latent(b, recorded.then_some(l));
            }
            self.refine_output(b, recorded.then_some(self.config.l_cycles));
        }
        self.read_out(b);
    }

    /// `z_L <- net(z_L + z_H + x_emb)`
    pub(super) fn refine_latent(&self, b: &mut Board, recorded: Option<usize>) {
        b.h.copy_from_slice(&b.z_h);
        add_scaled(&mut b.h, 1.0, &b.x_emb);
        add_scaled(&mut b.h, 1.0, &b.z_l);
        self.apply(b, recorded);
        b.z_l.copy_from_slice(&b.h);
    }

    /// `z_H <- net(z_H + z_L)`
    pub(super) fn refine_output(&self, b: &mut Board, recorded: Option<usize>) {
        b.h.copy_from_slice(&b.z_h);
        add_scaled(&mut b.h, 1.0, &b.z_l);
        self.apply(b, recorded);
        b.z_h.copy_from_slice(&b.h);
    }

    fn apply(&self, b: &mut Board, recorded: Option<usize>) {
        if let Some(application) = recorded {
            b.starts[application].copy_from_slice(&b.h);
        }
        for (layer, tape) in self.network.half_layers.iter().zip(&mut b.tapes) {
            layer.forward(&self.weights, tape, &mut b.h);
        }
    }

    /// `logits = W_lm z_H` of the cells, `q = W_q z_H + b_q` of the first token.
    pub(super) fn read_out(&self, b: &mut Board) {
        let d = self.config.hidden_size;
        let cells = &b.z_h[self.config.puzzle_emb_len * d..];
        product(CELLS, cells, &self.weights[self.network.lm_head], &mut b.logits, Overwrite::Yes);
        let [q_weight, q_bias] =
            [self.network.q_weight, self.network.q_bias].map(|id| self.weights.values(id));
        for (i, q) in b.q.iter_mut().enumerate() {
            *q = q_bias[i] + dot(&q_weight[i * d..][..d], &b.z_h[..d]);
        }
    }

    /// Adds the gradient of `scale` times the loss of [`Self::segment`]'s readout: the mean stablemax cross-entropy of
    /// the cells and half the binary cross-entropy of q_halt against `right`. It stops at the last outer cycle's start.
    ///
    /// # Shapes
    /// `targets` is `[81]`, tokens.
    pub(super) fn segment_backward(
        &self,
        b: &mut Board,
        targets: &[u8],
        right: bool,
        scale: f32,
        grads: &mut Weights,
    ) {
        self.read_out_backward(b, targets, right, scale, grads);
        b.d_z_l.fill(0.0);
        b.d_x_emb.fill(0.0);

        let l_cycles = self.config.l_cycles;
        b.h.copy_from_slice(&b.d_z_h);
        self.apply_backward(b, grads);
        b.d_z_h.copy_from_slice(&b.h);
        add_scaled(&mut b.d_z_l, 1.0, &b.h);
        for l in (0..l_cycles).rev() {
            b.h.copy_from_slice(&b.starts[l]);
            self.apply(b, None);
            b.h.copy_from_slice(&b.d_z_l);
            self.apply_backward(b, grads);
            b.d_z_l.copy_from_slice(&b.h);
            add_scaled(&mut b.d_z_h, 1.0, &b.h);
            add_scaled(&mut b.d_x_emb, 1.0, &b.h);
        }
        self.embed_backward(b, grads);
    }

    fn read_out_backward(&self, b: &mut Board, targets: &[u8], right: bool, scale: f32, grads: &mut Weights) {
        let d = self.config.hidden_size;
        let (first_cell, network) = (self.config.puzzle_emb_len * d, &self.network);
        stablemax_cross_entropy_backward(&mut b.logits, VOCABULARY, targets, scale / CELLS as f32);
        let cells = &b.z_h[first_cell..];
        linear_backward_weight(CELLS, cells, &b.logits, 0, &mut grads[network.lm_head].data, Format::F32);
        let (prefix, d_cells) = b.d_z_h.split_at_mut(first_cell);
        linear_backward_input(CELLS, &b.logits, &self.weights[network.lm_head], d_cells);

        let d_halt = scale * HALTING_WEIGHT * binary_cross_entropy_backward(b.q[0], right);
        prefix.fill(0.0);
        add_scaled(&mut prefix[..d], d_halt, &self.weights.values(network.q_weight)[..d]);
        add_scaled(&mut grads[network.q_weight].data[..d], d_halt, &b.z_h[..d]);
        grads[network.q_bias].data[0] += d_halt;
    }

    /// Turns `b.h`, the gradient of the network's result, into the gradient of the network's input. The tapes hold the
    /// forward pass.
    fn apply_backward(&self, b: &mut Board, grads: &mut Weights) {
        let w = (&self.weights, self.format);
        for (layer, tape) in self.network.half_layers.iter().zip(&mut b.tapes).rev() {
            layer.backward(w, tape, &mut b.scratch, grads, &mut b.h);
        }
    }

    fn embed_backward(&self, b: &Board, grads: &mut Weights) {
        let (d, scale) = (self.config.hidden_size, self.embedding_scale());
        let (prefix, tokens) = b.d_x_emb.split_at(self.config.puzzle_emb_len * d);
        let puzzle = &mut grads[self.network.puzzle_emb].data[..self.config.puzzle_emb_ndim];
        add_scaled(puzzle, scale, &prefix[..puzzle.len()]);
        embedding_backward(&b.cells, tokens, d, scale, &mut grads[self.network.embed_tokens].data);
    }
}
