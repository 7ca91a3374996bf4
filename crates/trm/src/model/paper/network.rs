//! The layers of the paper's model, and the list of their tensors.

use super::{Config, VOCABULARY};
use crate::layers::{HalfLayer, TokenMixing};
use crate::network::{First, Id, Layout, Role};
use crate::ops::{Heads, Rotary};
use crate::sudoku::CELLS;
use std::sync::Arc;

/// First bias of q_halt and q_continue: nothing is halted before halting has been learnt.
const Q_BIAS: f32 = -5.0;

/// The tensors around the one network, and its half layers.
#[derive(Clone, Debug)]
pub struct Network {
    /// The state that z_H starts from, `[d]`; not trained.
    pub h_init: Id,
    /// The state that z_L starts from, `[d]`; not trained.
    pub l_init: Id,
    /// `[11, d]`
    pub embed_tokens: Id,
    /// W_lm, `[11, d]`
    pub lm_head: Id,
    /// W_q, `[2, d]`: q_halt and q_continue.
    pub q_weight: Id,
    /// b_q, `[2]`
    pub q_bias: Id,
    /// `[identifiers, values]`
    pub puzzle_emb: Id,
    /// The half layers: of each layer first the one that mixes tokens, then the one that mixes channels.
    pub half_layers: Vec<HalfLayer>,
}

impl Network {
    /// The network that `config` asks for, and its tensors in the order of the official program's state dict.
    ///
    /// First values are those of the official program: normal distributions cut off at two deviations, of variance 1 / inputs for
    /// matrices, 1 / d for the token embedding and 1 for both first states; q_halt and q_continue are -5, the puzzle embedding 0.
    pub fn new(config: &Config) -> (Self, Arc<Layout>) {
        let d = config.hidden_size;
        let mut layout = Layout::default();
        let mut add = |name: &str, shape: &[usize], role, first| {
            layout.add(format!("inner.{name}"), shape, role, first)
        };
        let (zero, by_width) = (First::constant(0.0), First::normal(1.0 / (d as f64).sqrt()));
        let puzzles = [config.num_puzzle_identifiers, config.puzzle_emb_ndim];
        let mut network = Self {
            h_init: add("H_init", &[d], Role::FirstState, First::normal(1.0)),
            l_init: add("L_init", &[d], Role::FirstState, First::normal(1.0)),
            embed_tokens: add("embed_tokens.embedding_weight", &[VOCABULARY, d], Role::Embedding, by_width),
            lm_head: add("lm_head.weight", &[VOCABULARY, d], Role::ReadOut, by_width),
            q_weight: add("q_head.weight", &[2, d], Role::ReadOut, zero),
            q_bias: add("q_head.bias", &[2], Role::Bias, First::constant(Q_BIAS)),
            puzzle_emb: add("puzzle_emb.weights", &puzzles, Role::PuzzleEmbedding, zero),
            half_layers: Vec::new(),
        };
        let mixing = token_mixing(config);
        for layer in 0..config.l_layers {
            network.half_layers.extend(Self::layer(&mut layout, layer, config, &mixing));
        }
        (network, Arc::new(layout))
    }

    /// What mixes the tokens in a layer, and what mixes the channels.
    fn layer(layout: &mut Layout, layer: usize, config: &Config, mixing: &TokenMixing) -> [HalfLayer; 2] {
        let (d, tokens) = (config.hidden_size, config.tokens());
        let mut half = |names: [&str; 2], mixing, widths| {
            let names = names.map(|name| format!("inner.L_level.layers.{layer}.{name}"));
            HalfLayer::new(layout, names, mixing, [tokens, d], widths)
        };
        let swiglu = |width: usize| [2 * width, width];
        let (names, widths) = match mixing {
            TokenMixing::Attention(..) => (["self_attn.qkv_proj", "self_attn.o_proj"], [3 * d, d]),
            _ => (["mlp_t.gate_up_proj", "mlp_t.down_proj"], swiglu(config.mlp_t_width)),
        };
        let tokens = half(names, mixing.clone(), widths);
        let names = ["mlp.gate_up_proj", "mlp.down_proj"];
        [tokens, half(names, TokenMixing::Channels, swiglu(config.mlp_width))]
    }

    /// Floating-point operations of an outer cycle and of reading the answer off, for one puzzle: a product of `[1, a]` by `[a, b]`
    /// counts 2ab.
    pub fn flops(&self, config: &Config) -> [u64; 2] {
        let network: u64 = self.half_layers.iter().map(HalfLayer::flops).sum();
        let read_out = 2 * config.hidden_size * (CELLS * VOCABULARY + 2);
        [(config.l_cycles as u64 + 1) * network, read_out as u64]
    }

    /// Names, shapes, roles and first values of the tensors under `config`; nothing of their size is allocated.
    pub fn layout(config: &Config) -> Arc<Layout> {
        Self::new(config).1
    }
}

/// What mixes the tokens in every layer.
fn token_mixing(config: &Config) -> TokenMixing {
    if config.mlp_t {
        return TokenMixing::Tokens;
    }
    let (dim, tokens) = (config.hidden_size / config.num_heads, config.tokens());
    let rotary = Rotary::new(dim, tokens, config.rope_theta);
    TokenMixing::Attention(Heads { count: config.num_heads, dim, tokens }, Arc::new(rotary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Weights;

    #[test]
    fn first_values_are_those_of_the_official_program() {
        let config = Config { mlp_t: true, hidden_size: 64, puzzle_emb_ndim: 64, ..Config::default() };
        let config = Config { mlp_width: 160, mlp_t_width: 160, ..config };
        let layout = Network::layout(&config);
        let weights = Weights::first(&layout, 1);
        for (entry, tensor) in weights.iter().filter(|(entry, _)| entry.role == Role::Matrix) {
            let n = tensor.data.len() as f64;
            let variance = tensor.data.iter().map(|v| f64::from(v * v)).sum::<f64>() / n;
            let wanted = 1.0 / tensor.shape[1] as f64;
            assert!((variance / wanted - 1.0).abs() < 0.03, "{}: {variance} for {wanted}", entry.name);
        }
        let first = &weights["inner.H_init"].data;
        assert!(first.iter().all(|v| v.abs() <= 2.28) && weights["inner.q_head.bias"].data == [-5.0; 2]);
        assert!(weights == Weights::first(&layout, 1) && weights != Weights::first(&layout, 2));
    }
}
