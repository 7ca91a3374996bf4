//! The layers of the documented family, and the list of their tensors.

use crate::config::{NetworkConfig, State, Update};
use crate::layers::{Block, Embedding, Feedback, MixerKind, ReadOut, Stack, StateNorm};
use crate::network::{First, Id, Layout, Role, Weights};
use crate::ops::Format;
use crate::sudoku::Units;
use std::sync::Arc;

/// The tree of layers. Every state of the recursion goes through it:
///
/// ```text
/// x_emb = embedding(x)        z <- z + alpha latent(x_emb + y + z)        y <- y + beta output(y + z)        logits = read_out(y)
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    /// alpha, `[1]`, or `[d]` with `gates = "vector"`.
    pub latent_gate: Id,
    /// beta, `[1]`, or `[d]` with `gates = "vector"`.
    pub output_gate: Id,
    /// W_in, b_in and the vectors of places.
    pub embedding: Embedding,
    /// F, if the answer goes back into the state.
    pub feedback: Option<Feedback>,
    /// The stack R.
    pub latent: Stack,
    /// The stack O.
    pub output: Stack,
    /// W_out, b_out and the norm before them.
    pub read_out: ReadOut,
    /// The normalisation that every new state goes through, if the configuration asks for it.
    pub state_norm: StateNorm,
}

impl Network {
    /// The network that `config` asks for, and its tensors in the order of the Python original's `state_dict()`: a module's own
    /// tensors come first.
    pub fn new(config: &NetworkConfig) -> (Self, Arc<Layout>) {
        let (d, scale) = (config.hidden_dim, config.init_scale as f32);
        let (mut layout, mixer) = (Layout::default(), MixerKind::new(config));
        let gate = [config.gates.width(d)];
        let first_gate = First::constant(config.gate_init as f32);
        let network = Self {
            latent_gate: layout.add("latent_gate", &gate, Role::Gate, first_gate),
            output_gate: layout.add("output_gate", &gate, Role::Gate, first_gate),
            embedding: Embedding::new(&mut layout, config),
            feedback: (config.feedback)
                .then(|| Feedback::new(&mut layout, d, config.state.channels(), scale)),
            latent: Stack::new(&mut layout, "latent_layers", config.l_layers, config, mixer.as_ref()),
            output: Stack::new(&mut layout, "output_layers", config.output_layers, config, mixer.as_ref()),
            read_out: ReadOut::new(&mut layout, config),
            state_norm: StateNorm::new(config.state_norm, d),
        };
        (network, Arc::new(layout))
    }

    /// Floating-point operations of an outer cycle and of reading the answer off, for one puzzle. A product of `[1, a]` by `[a, b]`
    /// counts 2ab. Of open candidates as many are counted as the puzzles of Sudoku-Extreme have on average.
    pub fn flops(&self, config: &NetworkConfig) -> [u64; 2] {
        let [tokens, units] = match config.state {
            State::OpenCandidate => [217, 57],
            state => [state.tokens() as u64, state.tokens() as u64 / 9],
        };
        let latent = config.l_cycles as u64 * self.latent.flops(tokens, units);
        [latent + self.output.flops(tokens, units), tokens * self.read_out.flops()]
    }

    /// The blocks of both stacks.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.latent.blocks.iter().chain(&self.output.blocks)
    }

    /// Values that a pass of either stack over `rows` rows works in.
    pub fn scratch(&self, kinds: &[Units], format: Format, rows: usize) -> usize {
        [&self.latent, &self.output]
            .map(|stack| stack.scratch(kinds, format, rows))
            .into_iter()
            .max()
            .unwrap_or(0)
    }

    /// First values under `config`, drawn from `seed`.
    pub fn first_weights(config: &NetworkConfig, seed: u64) -> Weights {
        Weights::first(&Self::layout(config), seed)
    }

    /// Names, shapes, roles and first values of the tensors under `config`; nothing of their size is allocated.
    pub fn layout(config: &NetworkConfig) -> Arc<Layout> {
        Self::new(config).1
    }
}

/// Number of trainable values under `config`; nothing of their size is allocated.
pub fn parameter_count(config: &NetworkConfig) -> u64 {
    Network::layout(config).count()
}

/// Floating-point operations of one puzzle under `config`, as [`Network::flops`] counts them: (forward, forward and backward). The
/// backward pass counts twice the forward.
pub fn flops_per_sample(config: &NetworkConfig) -> (u64, u64) {
    let [cycle, read_out] = Network::new(config).0.flops(config);
    let forward = config.h_cycles as u64 * cycle + read_out;
    (forward, 3 * forward)
}

/// Whether a gate acts inside the blocks, so that it has a gradient there.
pub(super) fn gates_blocks(config: &NetworkConfig) -> bool {
    config.update == Update::Original
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mixing, Positions};
    use crate::model::{Engine, Model, Recording};
    use crate::parallel::Threads;

    #[test]
    fn the_documented_model_has_its_documented_size() {
        // 5 blocks of (2 d + 8 d^2 + 5 d), 810 d + d, 729 d + 729, two gates; d = 512.
        let d = 512;
        let expected = 5 * (2 * d + 8 * d * d + 5 * d) + 811 * d + 729 * d + 729 + 2;
        assert_eq!(parameter_count(&NetworkConfig::default()), expected);
        let small = NetworkConfig { hidden_dim: 24, output_layers: 1, ..NetworkConfig::default() };
        let weights = Weights::zeros(&Network::layout(&small));
        assert_eq!(parameter_count(&small), weights.count() as u64);
    }

    #[test]
    fn attention_and_positions_have_names_of_their_own() {
        let names = |mixing, positions| {
            let cells =
                NetworkConfig { hidden_dim: 12, heads: 3, state: State::Cell, ..NetworkConfig::default() };
            Network::layout(&NetworkConfig { mixing, positions, feedback: true, ..cells })
        };
        let attention = names(Mixing::UnitAttention, Positions::Units);
        let shape = |layout: &Layout, name: &str| layout[layout.find(name).expect(name)].shape.clone();
        for (name, expected) in [
            ("positions.row.weight", vec![9, 12]),
            ("positions.column.weight", vec![9, 12]),
            ("positions.box.weight", vec![9, 12]),
            ("feedback.weight", vec![12, 9]),
            ("latent_layers.0.attention.norm.weight", vec![12]),
            ("latent_layers.2.attention.qkv.weight", vec![36, 12]),
            ("output_layers.1.attention.output.bias", vec![12]),
        ] {
            assert_eq!(shape(&attention, name), expected, "{name}");
        }
        let tokens = names(Mixing::TokenMlp, Positions::Learned);
        for (name, expected) in [
            ("positions.cell.weight", vec![81, 12]),
            ("latent_layers.0.token_mlp.expand.weight", vec![162, 81]),
            ("latent_layers.0.token_mlp.contract.weight", vec![81, 162]),
        ] {
            assert_eq!(shape(&tokens, name), expected, "{name}");
        }
    }

    #[test]
    fn roles_tell_what_decays_what_is_multiplied_and_what_is_pruned() {
        let sizes =
            NetworkConfig { hidden_dim: 6, l_layers: 1, output_layers: 1, ..NetworkConfig::default() };
        let cells =
            NetworkConfig { state: State::Cell, positions: Positions::Learned, feedback: true, ..sizes };
        let config = NetworkConfig { mixing: Mixing::UnitMean, ..cells };
        let layout = Network::layout(&config);
        for entry in layout.entries() {
            let role = entry.role;
            assert_eq!(role.is_decayed(), entry.shape.len() == 2, "{}", entry.name);
            let is_input = entry.name.starts_with("input_proj") || entry.name.starts_with("positions");
            assert_eq!(role.is_multiplied(), entry.shape.len() == 2 && !is_input, "{}", entry.name);
            let is_of_block = entry.name.contains("_layers.") && entry.shape.len() == 2;
            assert_eq!(role.is_pruned(), is_of_block, "{}", entry.name);
        }
    }

    #[test]
    fn attention_takes_the_work_of_its_products() {
        let cells =
            NetworkConfig { hidden_dim: 96, heads: 6, state: State::Cell, ..NetworkConfig::default() };
        let work = |mixing| flops_per_sample(&NetworkConfig { mixing, ..cells.clone() }).0;
        let applications = 4 * (3 * 8 + 2);
        for (mixing, seen) in [(Mixing::Attention, 81), (Mixing::UnitAttention, 9)] {
            let products = 81 * (2 * 4 * 96 * 96 + 4 * seen * 96);
            assert_eq!(work(mixing) - work(Mixing::None), applications * products);
        }
        let token_mlp = 96 * 2 * 2 * 81 * 162;
        assert_eq!(work(Mixing::TokenMlp) - work(Mixing::None), applications * token_mlp);
    }

    #[test]
    fn the_documented_model_takes_the_documented_work() {
        let (_, training) = flops_per_sample(&NetworkConfig::default());
        assert!((1.25e9..1.35e9).contains(&(training as f64)), "{training}");
    }

    #[test]
    fn smaller_first_weights_make_smaller_states_and_logits() {
        let board = NetworkConfig {
            hidden_dim: 32,
            l_layers: 2,
            l_cycles: 3,
            h_cycles: 2,
            ..NetworkConfig::default()
        };
        let cell = |mixing, positions| {
            let sizes =
                NetworkConfig { hidden_dim: 12, heads: 3, l_layers: 1, output_layers: 1, ..board.clone() };
            NetworkConfig { state: State::Cell, mixing, positions, ..sizes }
        };
        for config in [
            board.clone(),
            cell(Mixing::UnitMean, Positions::Learned),
            cell(Mixing::UnitAttention, Positions::Units),
        ] {
            let threads = Threads::new(1);
            let first = |config: &NetworkConfig| Network::first_weights(config, config.seed);
            let logits = |init_scale| {
                let precision = crate::config::Precision::F32;
                let config = NetworkConfig { init_scale, precision, ..config.clone() };
                let mut weights = first(&config);
                weights["output_proj.bias"].data.fill(0.0);
                let model = Model::new(config, weights, &threads);
                let cells: Vec<u8> = (0..81).map(|i| (i * 7 % 11 % 10) as u8).collect();
                Engine::new(Recording::Nothing).logits(&model, &cells, &threads)
            };
            let (usual, small) = (logits(1.0), logits(0.5));
            let largest = usual.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (u, s) in usual.iter().zip(&small) {
                // LayerNorm's epsilon is larger next to smaller states.
                assert!((0.5 * u - s).abs() < 0.01 * largest, "half of {u}, and {s}");
            }
            let bound = |init_scale| {
                let weights = first(&NetworkConfig { init_scale, ..config.clone() });
                weights["latent_layers.0.net.4.weight"].data.iter().fold(0.0f32, |m, v| m.max(*v))
            };
            assert_eq!(bound(0.5), 0.5 * bound(1.0));
        }
    }
}
