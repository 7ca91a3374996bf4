//! The first values of the parameters.

use super::params::{Linear, Params};
use crate::config::NetworkConfig;
use crate::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws weights and biases of a linear map by `draw(tensor, inputs)`.
fn fill(linear: &mut Linear, draw: &mut impl FnMut(&mut Tensor, usize)) {
    let inputs = linear.weight.shape[1];
    draw(&mut linear.weight, inputs);
    draw(&mut linear.bias, inputs);
}

impl Params {
    /// First values: gates at `gate_init`, norms the identity, weights and biases of a linear map uniform within
    /// `1 / sqrt(in)`, PyTorch's default; all of them rescaled by `init_scale`. Drawn from `config.seed`.
    pub fn init(config: &NetworkConfig) -> Self {
        let mut params = Self::zeros(config);
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut draw = |tensor: &mut Tensor, inputs: usize| {
            let bound = 1.0 / (inputs as f32).sqrt();
            tensor.data.iter_mut().for_each(|value| *value = rng.random_range(-bound..bound));
        };
        fill(&mut params.input_proj, &mut draw);
        for block in params.latent_layers.iter_mut().chain(&mut params.output_layers) {
            block.norm.weight.data.fill(1.0);
            fill(&mut block.expand, &mut draw);
            fill(&mut block.contract, &mut draw);
        }
        fill(&mut params.output_proj, &mut draw);
        params.output_norm.iter_mut().for_each(|norm| norm.weight.data.fill(1.0));
        for block in params.latent_layers.iter_mut().chain(&mut params.output_layers) {
            block.mix.iter_mut().for_each(|mix| draw(mix, config.hidden_dim));
            if let Some(mixer) = &mut block.mixer {
                mixer.norm.weight.data.fill(1.0);
                fill(&mut mixer.enter, &mut draw);
                fill(&mut mixer.leave, &mut draw);
            }
        }
        let cell_inputs = params.positions.iter_mut().chain(&mut params.feedback);
        cell_inputs.for_each(|table| draw(table, config.state.channels()));
        params.latent_gate.data.fill(config.gate_init as f32);
        params.output_gate.data.fill(config.gate_init as f32);
        params.rescale(config.init_scale as f32);
        params
    }

    /// Smaller states by smaller weights: what makes the states is multiplied by `scale`. LayerNorm's gain, which is free of
    /// the size of its input, is divided by `scale` and what reads it multiplied, so that blocks see what they saw, but for
    /// LayerNorm's epsilon. The logits start `scale` times as large. A step of AdamW then changes all matrices but W_out
    /// `1 / scale` times as much, relative to their size.
    fn rescale(&mut self, scale: f32) {
        let multiply = |tensor: &mut Tensor| tensor.data.iter_mut().for_each(|value| *value *= scale);
        let divide = |tensor: &mut Tensor| tensor.data.iter_mut().for_each(|value| *value /= scale);
        let writes_state = |linear: &mut Linear| {
            multiply(&mut linear.weight);
            multiply(&mut linear.bias);
        };
        writes_state(&mut self.input_proj);
        self.positions.iter_mut().chain(&mut self.feedback).for_each(multiply);
        for block in self.latent_layers.iter_mut().chain(&mut self.output_layers) {
            if let Some(mixer) = &mut block.mixer {
                divide(&mut mixer.norm.weight);
                multiply(&mut mixer.enter.weight);
                writes_state(&mut mixer.leave);
            }
            divide(&mut block.norm.weight);
            multiply(&mut block.expand.weight);
            block.mix.iter_mut().for_each(multiply);
            writes_state(&mut block.contract);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mixing, Positions, Precision, State};
    use crate::model::{Engine, Model, Recording};
    use crate::parallel::Threads;

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
            let logits = |init_scale| {
                let config = NetworkConfig { init_scale, precision: Precision::F32, ..config.clone() };
                let mut params = Params::init(&config);
                params.output_proj.bias.data.fill(0.0);
                let model = Model::new(config, params, &threads);
                let cells: Vec<u8> = (0..81).map(|i| (i * 7 % 11 % 10) as u8).collect();
                Engine::new(Recording::Nothing).logits(&model, &cells, &threads)
            };
            let (usual, small) = (logits(1.0), logits(0.5));
            let largest = usual.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (u, s) in usual.iter().zip(&small) {
                // LayerNorm's epsilon is larger next to smaller states.
                assert!((0.5 * u - s).abs() < 0.01 * largest, "half of {u}, and {s}");
            }
            let config = NetworkConfig { init_scale: 0.5, ..config };
            let bound = |params: &Params| {
                params.latent_layers[0].contract.weight.data.iter().fold(0.0f32, |m, v| m.max(*v))
            };
            assert_eq!(
                bound(&Params::init(&config)),
                0.5 * bound(&Params::init(&NetworkConfig { init_scale: 1.0, ..config }))
            );
        }
    }
}
