//! One segment of one puzzle, forward and backward.

use super::board::Board;
use super::branch::{Mixer, Mixing, PackedBranch};
use super::{BLANK, Config, Params, VOCABULARY};
use crate::ops::{
    Format, Heads, PackedWeight, Rotary, add_scaled, binary_cross_entropy_backward, dot, embedding_backward,
    embedding_forward, linear_backward_input, linear_backward_weight, product,
    stablemax_cross_entropy_backward,
};
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use trm_kernels::Overwrite;

/// What the halting loss counts beside the cross-entropy.
pub(super) const HALTING_WEIGHT: f32 = 0.5;

/// A model ready to run: configuration, parameters, and the parameters as products read them.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    params: Params,
    packed: Vec<PackedBranch>,
    lm_head: PackedWeight,
    rotary: Rotary,
    format: Format,
}

impl Model {
    /// A model with these parameters.
    pub fn new(config: Config, params: Params, threads: &Threads) -> Self {
        let format = config.precision.format();
        let rotary = match config.mlp_t {
            true => Rotary::new(0, 0, 1.0),
            false => Rotary::new(config.hidden_size / config.num_heads, config.tokens(), config.rope_theta),
        };
        let lm_head = PackedWeight::new(Format::F32);
        let mut model = Self { config, params, packed: Vec::new(), lm_head, rotary, format };
        model.pack(threads);
        model
    }

    fn pack(&mut self, threads: &Threads) {
        let mut packed: Vec<Option<PackedBranch>> = self.params.branches.iter().map(|_| None).collect();
        let work = self.params.branches.iter().zip(&mut packed).collect();
        threads.for_each(work, |(branch, slot): (_, &mut Option<PackedBranch>)| {
            *slot = Some(PackedBranch::new(branch, self.format));
        });
        self.packed = packed.into_iter().flatten().collect();
        self.lm_head.pack([VOCABULARY, self.config.hidden_size], &self.params.lm_head.data);
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Lets `update` change the parameters.
    pub fn update_params<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Params) -> R) -> R {
        let result = update(&mut self.params);
        self.pack(threads);
        result
    }

    /// The branches of the network in order.
    pub(super) fn mixers(&self) -> impl DoubleEndedIterator<Item = Mixer<'_>> + ExactSizeIterator {
        let c = &self.config;
        let attention = || Heads { count: c.num_heads, dim: c.hidden_size / c.num_heads, tokens: c.tokens() };
        let branches = self.params.branches.iter().zip(&self.packed).enumerate();
        branches.map(move |(k, (params, packed))| Mixer {
            mixing: match (k % 2, c.mlp_t) {
                (0, true) => Mixing::Tokens,
                (0, false) => Mixing::Attention(attention(), &self.rotary),
                _ => Mixing::Channels,
            },
            params,
            packed,
            tokens: c.tokens(),
            format: self.format,
        })
    }

    /// `x_emb = sqrt(d) [puzzle embedding, token embeddings]`
    pub(super) fn embed(&self, b: &mut Board, cells: &[u8]) {
        let (d, scale) = (self.config.hidden_size, self.embedding_scale());
        b.cells.clear();
        b.cells.extend(cells.iter().map(|cell| BLANK + cell));
        let (prefix, tokens) = b.x_emb.split_at_mut(self.config.puzzle_emb_len * d);
        let puzzle = &self.params.puzzle_emb.data[..self.config.puzzle_emb_ndim];
        prefix.fill(0.0);
        add_scaled(&mut prefix[..puzzle.len()], scale, puzzle);
        embedding_forward(&b.cells, &self.params.embed_tokens.data, d, scale, tokens);
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
    fn refine_latent(&self, b: &mut Board, recorded: Option<usize>) {
        b.h.copy_from_slice(&b.z_h);
        add_scaled(&mut b.h, 1.0, &b.x_emb);
        add_scaled(&mut b.h, 1.0, &b.z_l);
        self.network(b, recorded);
        b.z_l.copy_from_slice(&b.h);
    }

    /// `z_H <- net(z_H + z_L)`
    fn refine_output(&self, b: &mut Board, recorded: Option<usize>) {
        b.h.copy_from_slice(&b.z_h);
        add_scaled(&mut b.h, 1.0, &b.z_l);
        self.network(b, recorded);
        b.z_h.copy_from_slice(&b.h);
    }

    fn network(&self, b: &mut Board, recorded: Option<usize>) {
        if let Some(application) = recorded {
            b.starts[application].copy_from_slice(&b.h);
        }
        for (mixer, tape) in self.mixers().zip(&mut b.tapes) {
            mixer.forward(tape, &mut b.h);
        }
    }

    /// `logits = W_lm z_H` of the cells, `q = W_q z_H + b_q` of the first token.
    fn read_out(&self, b: &mut Board) {
        let d = self.config.hidden_size;
        let cells = &b.z_h[self.config.puzzle_emb_len * d..];
        product(CELLS, cells, &self.lm_head, &mut b.logits, Overwrite::Yes);
        for (i, q) in b.q.iter_mut().enumerate() {
            *q = self.params.q_bias.data[i] + dot(&self.params.q_weight.data[i * d..][..d], &b.z_h[..d]);
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
        grads: &mut Params,
    ) {
        self.read_out_backward(b, targets, right, scale, grads);
        b.d_z_l.fill(0.0);
        b.d_x_emb.fill(0.0);

        let l_cycles = self.config.l_cycles;
        b.h.copy_from_slice(&b.d_z_h);
        self.network_backward(b, grads);
        b.d_z_h.copy_from_slice(&b.h);
        add_scaled(&mut b.d_z_l, 1.0, &b.h);
        for l in (0..l_cycles).rev() {
            b.h.copy_from_slice(&b.starts[l]);
            self.network(b, None);
            b.h.copy_from_slice(&b.d_z_l);
            self.network_backward(b, grads);
            b.d_z_l.copy_from_slice(&b.h);
            add_scaled(&mut b.d_z_h, 1.0, &b.h);
            add_scaled(&mut b.d_x_emb, 1.0, &b.h);
        }
        self.embed_backward(b, grads);
    }

    fn read_out_backward(&self, b: &mut Board, targets: &[u8], right: bool, scale: f32, grads: &mut Params) {
        let d = self.config.hidden_size;
        let (first_cell, params) = (self.config.puzzle_emb_len * d, &self.params);
        stablemax_cross_entropy_backward(&mut b.logits, VOCABULARY, targets, scale / CELLS as f32);
        let cells = &b.z_h[first_cell..];
        linear_backward_weight(CELLS, cells, &b.logits, 0, &mut grads.lm_head.data, Format::F32);
        let (prefix, d_cells) = b.d_z_h.split_at_mut(first_cell);
        linear_backward_input(CELLS, &b.logits, &self.lm_head, d_cells);

        let d_halt = scale * HALTING_WEIGHT * binary_cross_entropy_backward(b.q[0], right);
        prefix.fill(0.0);
        add_scaled(&mut prefix[..d], d_halt, &params.q_weight.data[..d]);
        add_scaled(&mut grads.q_weight.data[..d], d_halt, &b.z_h[..d]);
        grads.q_bias.data[0] += d_halt;
    }

    /// Turns `b.h`, the gradient of the network's result, into that of what it began with. The tapes hold that pass.
    fn network_backward(&self, b: &mut Board, grads: &mut Params) {
        let branches = self.mixers().zip(&mut b.tapes).zip(&mut grads.branches);
        for ((mixer, tape), grads) in branches.rev() {
            mixer.backward(tape, &mut b.scratch, grads, &mut b.h);
        }
    }

    fn embed_backward(&self, b: &Board, grads: &mut Params) {
        let (d, scale) = (self.config.hidden_size, self.embedding_scale());
        let (prefix, tokens) = b.d_x_emb.split_at(self.config.puzzle_emb_len * d);
        let puzzle = &mut grads.puzzle_emb.data[..self.config.puzzle_emb_ndim];
        add_scaled(puzzle, scale, &prefix[..puzzle.len()]);
        embedding_backward(&b.cells, tokens, d, scale, &mut grads.embed_tokens.data);
    }
}
