//! The trainable parameters, their names in checkpoints, and their first values.

use super::EXPANSION;
use crate::config::TrmConfig;
use crate::tensor::{StateDict, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A linear map: `weight` `[out, in]`, `bias` `[out]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Tensor,
}

/// Gain and bias of a layer normalisation, both `[d]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Gain, `[d]`
    pub weight: Tensor,
    /// `[d]`
    pub bias: Tensor,
}

/// One residual MLP block: `f(h) = W2 GELU(W1 LayerNorm(h) + b1) + b2`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockParams {
    /// `net.0` in checkpoints.
    pub norm: Norm,
    /// `net.1`: d to 4d.
    pub expand: Linear,
    /// `net.4`: 4d to d.
    pub contract: Linear,
}

/// All parameters of a model; gradients and optimiser moments have the same type.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// alpha, `[1]`
    pub latent_gate: Tensor,
    /// beta, `[1]`
    pub output_gate: Tensor,
    /// 810 to d
    pub input_proj: Linear,
    /// The stack R.
    pub latent_layers: Vec<BlockParams>,
    /// The stack O.
    pub output_layers: Vec<BlockParams>,
    /// d to 729
    pub output_proj: Linear,
}

/// Lists every tensor in the order of the Python original's `state_dict()`: a module's own parameters come first.
macro_rules! tensors_in_order {
    ($params:expr, $iter:ident, $($mutable:tt)?) => {{
        let params = $params;
        let mut all = vec![&$($mutable)? params.latent_gate, &$($mutable)? params.output_gate];
        all.extend([&$($mutable)? params.input_proj.weight, &$($mutable)? params.input_proj.bias]);
        for block in params.latent_layers.$iter().chain(params.output_layers.$iter()) {
            all.extend([&$($mutable)? block.norm.weight, &$($mutable)? block.norm.bias]);
            all.extend([&$($mutable)? block.expand.weight, &$($mutable)? block.expand.bias]);
            all.extend([&$($mutable)? block.contract.weight, &$($mutable)? block.contract.bias]);
        }
        all.extend([&$($mutable)? params.output_proj.weight, &$($mutable)? params.output_proj.bias]);
        all
    }};
}

impl Params {
    /// Zeros in the shapes that `config` asks for.
    pub fn zeros(config: &TrmConfig) -> Self {
        let d = config.hidden_dim;
        let linear = |inputs: usize, out: usize| Linear {
            weight: Tensor::zeros(&[out, inputs]),
            bias: Tensor::zeros(&[out]),
        };
        let block = |_| BlockParams {
            norm: Norm { weight: Tensor::zeros(&[d]), bias: Tensor::zeros(&[d]) },
            expand: linear(d, EXPANSION * d),
            contract: linear(EXPANSION * d, d),
        };
        Self {
            latent_gate: Tensor::zeros(&[1]),
            output_gate: Tensor::zeros(&[1]),
            input_proj: linear(config.input_dim, d),
            latent_layers: (0..config.l_layers).map(block).collect(),
            output_layers: (0..config.output_layers).map(block).collect(),
            output_proj: linear(d, config.output_dim),
        }
    }

    /// First values: gates at `gate_init`, norms the identity, weights and biases of a linear map uniform within
    /// `1 / sqrt(in)`, PyTorch's default. Drawn from `config.seed`.
    pub fn init(config: &TrmConfig) -> Self {
        let mut params = Self::zeros(config);
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut fill = |linear: &mut Linear| {
            let bound = 1.0 / (linear.weight.shape[1] as f32).sqrt();
            for value in linear.weight.data.iter_mut().chain(&mut linear.bias.data) {
                *value = rng.random_range(-bound..bound);
            }
        };
        fill(&mut params.input_proj);
        for block in params.latent_layers.iter_mut().chain(&mut params.output_layers) {
            block.norm.weight.data.fill(1.0);
            fill(&mut block.expand);
            fill(&mut block.contract);
        }
        fill(&mut params.output_proj);
        params.latent_gate.data[0] = config.gate_init as f32;
        params.output_gate.data[0] = config.gate_init as f32;
        params
    }

    /// Every tensor, in the order of [`Self::names`].
    pub fn tensors(&self) -> Vec<&Tensor> {
        tensors_in_order!(self, iter,)
    }

    /// Every tensor, in the order of [`Self::names`].
    pub fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        tensors_in_order!(self, iter_mut, mut)
    }

    /// Names in checkpoints: those of the Python original.
    pub fn names(&self) -> Vec<String> {
        Self::names_for(self.latent_layers.len(), self.output_layers.len())
    }

    /// Names of the parameters of a model with these numbers of blocks.
    pub fn names_for(l_layers: usize, output_layers: usize) -> Vec<String> {
        let linear = |name: &str| [format!("{name}.weight"), format!("{name}.bias")];
        let mut names = vec!["latent_gate".to_string(), "output_gate".to_string()];
        names.extend(linear("input_proj"));
        for (stack, blocks) in [("latent_layers", l_layers), ("output_layers", output_layers)] {
            for i in 0..blocks {
                names.extend(
                    [0, 1, 4].into_iter().flat_map(|part| linear(&format!("{stack}.{i}.net.{part}"))),
                );
            }
        }
        names.extend(linear("output_proj"));
        names
    }

    /// Shapes of the parameters under `config`, in the order of [`Self::names`].
    pub fn shapes_for(config: &TrmConfig) -> Vec<Vec<usize>> {
        let d = config.hidden_dim;
        let wide = EXPANSION * d;
        let linear = |inputs: usize, out: usize| [vec![out, inputs], vec![out]];
        let mut shapes = vec![vec![1], vec![1]];
        shapes.extend(linear(config.input_dim, d));
        for _ in 0..config.l_layers + config.output_layers {
            shapes.extend([vec![d], vec![d]].into_iter().chain(linear(d, wide)).chain(linear(wide, d)));
        }
        shapes.extend(linear(d, config.output_dim));
        shapes
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.tensors().iter().map(|t| t.data.len()).sum()
    }

    /// A copy of every tensor by name.
    pub fn state_dict(&self) -> StateDict {
        self.names().into_iter().zip(self.tensors().into_iter().cloned()).collect()
    }

    /// Takes the values of a state dict that has been checked against `config`.
    ///
    /// # Panics
    /// If a name is missing or a shape differs; [`crate::checkpoint`] reports those as errors.
    pub fn from_state_dict(config: &TrmConfig, state: &StateDict) -> Self {
        let mut params = Self::zeros(config);
        let names = params.names();
        for (name, tensor) in names.iter().zip(params.tensors_mut()) {
            let (_, value) = state.iter().find(|(n, _)| n == name).expect("checked names");
            assert_eq!(tensor.shape, value.shape, "checked shape of {name}");
            tensor.data.copy_from_slice(&value.data);
        }
        params
    }

    /// Sets every value to zero.
    pub fn clear(&mut self) {
        self.tensors_mut().into_iter().for_each(|t| t.data.fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_model_has_its_documented_size() {
        let params = Params::zeros(&TrmConfig::default());
        // 5 blocks of (2 d + 8 d^2 + 5 d), 810 d + d, 729 d + 729, two gates; d = 512.
        let d = 512;
        let expected = 5 * (2 * d + 8 * d * d + 5 * d) + 811 * d + 729 * d + 729 + 2;
        assert_eq!(params.count(), expected);
    }

    #[test]
    fn names_and_tensors_are_in_one_order() {
        let config = TrmConfig { hidden_dim: 3, l_layers: 1, output_layers: 1, ..TrmConfig::default() };
        let mut params = Params::init(&config);
        let state = params.state_dict();
        let shape = |name: &str| &state.iter().find(|(n, _)| n == name).unwrap().1.shape;
        assert_eq!(shape("latent_layers.0.net.1.weight"), &[12, 3]);
        assert_eq!(shape("output_layers.0.net.4.weight"), &[3, 12]);
        assert_eq!(shape("output_proj.bias"), &[729]);
        assert_eq!(params.tensors().len(), params.names().len());
        let shapes: Vec<_> = params.tensors().iter().map(|t| t.shape.clone()).collect();
        assert_eq!(shapes, Params::shapes_for(&config));
        assert_eq!(params.tensors_mut().len(), params.names().len());
        assert_eq!(Params::from_state_dict(&config, &state), params);
    }
}
