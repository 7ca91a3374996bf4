//! The trainable parameters and their names in checkpoints.

use super::mixer::Mixer;
use crate::config::NetworkConfig;
use crate::parallel::Threads;
use crate::sudoku::DIGITS;
use crate::tensor::{StateDict, Tensor};
use std::collections::HashMap;

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

/// What mixes the cells before the MLP of a block: two linear maps behind a norm.
#[derive(Clone, Debug, PartialEq)]
pub struct MixerParams {
    /// `attention.norm` or `token_mlp.norm` in checkpoints.
    pub norm: Norm,
    /// `attention.qkv`: d to queries, keys and values; or `token_mlp.expand`: 81 to 162.
    pub enter: Linear,
    /// `attention.output`: d to d; or `token_mlp.contract`: 162 to 81.
    pub leave: Linear,
}

/// One residual MLP block: `f(h) = W2 GELU(W1 n + sum_k M_k mean_k(n) + b1) + b2` with `n = LayerNorm(h)`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockParams {
    /// What mixes the cells before the MLP, if something does.
    pub mixer: Option<MixerParams>,
    /// `net.0` in checkpoints.
    pub norm: Norm,
    /// `net.1`: d to `expansion` d.
    pub expand: Linear,
    /// `mix.{kind}`: M_k, `[expansion d, d]`, one for each kind of unit that tokens are mixed in.
    pub mix: Vec<Tensor>,
    /// `net.4`: `expansion` d to d.
    pub contract: Linear,
}

/// All parameters of a model; gradients and optimiser moments have the same type.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// alpha, `[1]`, or `[d]` with `gates = "vector"`
    pub latent_gate: Tensor,
    /// beta, of the same shape
    pub output_gate: Tensor,
    /// The channels that one token is embedded from, to d: 810 to d for a state of the whole board.
    pub input_proj: Linear,
    /// `positions.{name}`: vectors that are added to the embedding of a cell, `[places, d]` each.
    pub positions: Vec<Tensor>,
    /// F, `[d, 9]`, if the answer goes back into the state: `feedback.weight`.
    pub feedback: Option<Tensor>,
    /// The stack R.
    pub latent_layers: Vec<BlockParams>,
    /// The stack O.
    pub output_layers: Vec<BlockParams>,
    /// Gain and bias of the normalised answer, if it is read off normalised.
    pub output_norm: Option<Norm>,
    /// d to the logits of one token: to 729 for a state of the whole board.
    pub output_proj: Linear,
}

/// Lists every tensor in the order of the Python original's `state_dict()`: a module's own parameters come first.
macro_rules! tensors_in_order {
    ($params:expr, $iter:ident, $($mutable:tt)?) => {{
        let params = $params;
        let mut all = vec![&$($mutable)? params.latent_gate, &$($mutable)? params.output_gate];
        all.extend([&$($mutable)? params.input_proj.weight, &$($mutable)? params.input_proj.bias]);
        all.extend(params.positions.$iter());
        all.extend(params.feedback.$iter());
        for block in params.latent_layers.$iter().chain(params.output_layers.$iter()) {
            if let Some(mixer) = &$($mutable)? block.mixer {
                all.extend([&$($mutable)? mixer.norm.weight, &$($mutable)? mixer.norm.bias]);
                all.extend([&$($mutable)? mixer.enter.weight, &$($mutable)? mixer.enter.bias]);
                all.extend([&$($mutable)? mixer.leave.weight, &$($mutable)? mixer.leave.bias]);
            }
            all.extend([&$($mutable)? block.norm.weight, &$($mutable)? block.norm.bias]);
            all.extend([&$($mutable)? block.expand.weight, &$($mutable)? block.expand.bias]);
            all.extend(block.mix.$iter());
            all.extend([&$($mutable)? block.contract.weight, &$($mutable)? block.contract.bias]);
        }
        if let Some(norm) = &$($mutable)? params.output_norm {
            all.extend([&$($mutable)? norm.weight, &$($mutable)? norm.bias]);
        }
        all.extend([&$($mutable)? params.output_proj.weight, &$($mutable)? params.output_proj.bias]);
        all
    }};
}

/// Makes the tensors of a model one after the other by `make(name, shape)`.
struct Builder<F>(F);

impl<F: FnMut(String, Vec<usize>) -> Tensor> Builder<F> {
    fn params(&mut self, config: &NetworkConfig) -> Params {
        let d = config.hidden_dim;
        let gate = [config.gates.width(d)];
        let [inputs, logits] = config.state.widths();
        Params {
            latent_gate: self.tensor("latent_gate", &gate),
            output_gate: self.tensor("output_gate", &gate),
            input_proj: self.linear("input_proj", inputs, d),
            positions: (config.position_tables().iter())
                .map(|table| self.tensor(&format!("positions.{}.weight", table.name), &[table.places, d]))
                .collect(),
            feedback: config.feedback.then(|| self.tensor("feedback.weight", &[d, DIGITS])),
            latent_layers: self.blocks("latent_layers", config.l_layers, config),
            output_layers: self.blocks("output_layers", config.output_layers, config),
            output_norm: config.output_norm.then(|| self.norm("output_norm", d)),
            output_proj: self.linear("output_proj", d, logits),
        }
    }

    fn norm(&mut self, name: &str, d: usize) -> Norm {
        Norm {
            weight: self.tensor(&format!("{name}.weight"), &[d]),
            bias: self.tensor(&format!("{name}.bias"), &[d]),
        }
    }

    fn blocks(&mut self, stack: &str, count: usize, config: &NetworkConfig) -> Vec<BlockParams> {
        let d = config.hidden_dim;
        let wide = config.mlp_width();
        (0..count)
            .map(|i| BlockParams {
                mixer: Mixer::new(config).map(|mixer| self.mixer(&format!("{stack}.{i}"), &mixer, d)),
                norm: self.norm(&format!("{stack}.{i}.net.0"), d),
                expand: self.linear(&format!("{stack}.{i}.net.1"), d, wide),
                mix: (config.units().iter())
                    .map(|units| self.tensor(&format!("{stack}.{i}.mix.{}.weight", units.name), &[wide, d]))
                    .collect(),
                contract: self.linear(&format!("{stack}.{i}.net.4"), wide, d),
            })
            .collect()
    }

    fn mixer(&mut self, block: &str, mixer: &Mixer, d: usize) -> MixerParams {
        let (name, [enter, leave]) = mixer.linears(d);
        let norm = self.norm(&format!("{block}.{name}.norm"), d);
        let mut linear = |(part, inputs, out)| self.linear(&format!("{block}.{name}.{part}"), inputs, out);
        MixerParams { norm, enter: linear(enter), leave: linear(leave) }
    }

    fn linear(&mut self, name: &str, inputs: usize, out: usize) -> Linear {
        Linear {
            weight: self.tensor(&format!("{name}.weight"), &[out, inputs]),
            bias: self.tensor(&format!("{name}.bias"), &[out]),
        }
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Tensor {
        (self.0)(name.to_string(), shape.to_vec())
    }
}

fn is_matrix(shape: &[usize]) -> bool {
    shape.len() == 2
}

/// Whether weight decay applies to a tensor: to matrices, not to biases, norms and gates.
pub fn is_decayed(tensor: &Tensor) -> bool {
    tensor.shape.len() == 2
}

impl Params {
    /// Zeros in the shapes that `config` asks for.
    pub fn zeros(config: &NetworkConfig) -> Self {
        Builder(|_, shape: Vec<usize>| Tensor::zeros(&shape)).params(config)
    }

    /// Names in checkpoints (those of the Python original, where it has the tensor) and shapes under `config`, in the
    /// order of [`Self::tensors`]; nothing of their size is allocated.
    pub fn layout(config: &NetworkConfig) -> Vec<(String, Vec<usize>)> {
        let mut layout = Vec::new();
        Builder(|name, shape: Vec<usize>| {
            layout.push((name, shape));
            Tensor::zeros(&[0])
        })
        .params(config);
        layout
    }

    /// Every tensor, in the order of [`Self::layout`].
    pub fn tensors(&self) -> Vec<&Tensor> {
        tensors_in_order!(self, iter,)
    }

    /// Every tensor, in the order of [`Self::layout`].
    pub fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        tensors_in_order!(self, iter_mut, mut)
    }

    /// The matrices that vectors of the states are multiplied by: all but W_in, whose input is one-hot.
    pub fn matrices(&self) -> Vec<&Tensor> {
        self.tensors().into_iter().skip(self.before_matrices()).filter(|t| is_matrix(&t.shape)).collect()
    }

    /// In the order of [`Self::matrices`].
    pub fn matrices_mut(&mut self) -> Vec<&mut Tensor> {
        let first = self.before_matrices();
        self.tensors_mut().into_iter().skip(first).filter(|t| is_matrix(&t.shape)).collect()
    }

    /// The names of [`Self::matrices`] in checkpoints.
    pub fn matrix_names(config: &NetworkConfig) -> Vec<String> {
        let after_positions = 4 + config.position_tables().len();
        let layout = Self::layout(config).into_iter().skip(after_positions);
        layout.filter(|(_, shape)| is_matrix(shape)).map(|(name, _)| name).collect()
    }

    /// Gates, W_in, b_in and the vectors of positions.
    fn before_matrices(&self) -> usize {
        4 + self.positions.len()
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.tensors().iter().map(|t| t.data.len()).sum()
    }

    /// A copy of every tensor by name; `config` is the one they were made for.
    pub fn state_dict(&self, config: &NetworkConfig) -> StateDict {
        let names = Self::layout(config).into_iter().map(|(name, _)| name);
        names.zip(self.tensors().into_iter().cloned()).collect()
    }

    /// Takes the values of a state dict that has been checked against `config`.
    ///
    /// # Panics
    /// If a name is missing or a shape differs; [`crate::checkpoint`] reports those as errors.
    pub fn from_state_dict(config: &NetworkConfig, state: StateDict) -> Self {
        let mut state: HashMap<String, Tensor> = state.into_iter().collect();
        Builder(|name: String, shape: Vec<usize>| {
            let value = state.remove(&name).expect("checked names");
            assert_eq!(shape, value.shape, "checked shape of {name}");
            value
        })
        .params(config)
    }

    /// Sets every value to zero.
    pub fn clear(&mut self, threads: &Threads) {
        const PIECE: usize = 1 << 16;
        let pieces = self.tensors_mut().into_iter().flat_map(|t| t.data.chunks_mut(PIECE)).collect();
        threads.for_each(pieces, |piece: &mut [f32]| piece.fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mixing, Positions, State};

    #[test]
    fn the_documented_model_has_its_documented_size() {
        let params = Params::zeros(&NetworkConfig::default());
        // 5 blocks of (2 d + 8 d^2 + 5 d), 810 d + d, 729 d + 729, two gates; d = 512.
        let d = 512;
        let expected = 5 * (2 * d + 8 * d * d + 5 * d) + 811 * d + 729 * d + 729 + 2;
        assert_eq!(params.count(), expected);
    }

    #[test]
    fn attention_and_positions_have_names_of_their_own() {
        let names = |mixing, positions| {
            let cells =
                NetworkConfig { hidden_dim: 12, heads: 3, state: State::Cell, ..NetworkConfig::default() };
            Params::layout(&NetworkConfig { mixing, positions, feedback: true, ..cells })
        };
        let attention = names(Mixing::UnitAttention, Positions::Units);
        for (name, shape) in [
            ("positions.row.weight", vec![9, 12]),
            ("positions.column.weight", vec![9, 12]),
            ("positions.box.weight", vec![9, 12]),
            ("feedback.weight", vec![12, 9]),
            ("latent_layers.0.attention.norm.weight", vec![12]),
            ("latent_layers.2.attention.qkv.weight", vec![36, 12]),
            ("output_layers.1.attention.output.bias", vec![12]),
        ] {
            assert!(attention.contains(&(name.into(), shape)), "{name}");
        }
        let tokens = names(Mixing::TokenMlp, Positions::Learned);
        for (name, shape) in [
            ("positions.cell.weight", vec![81, 12]),
            ("latent_layers.0.token_mlp.expand.weight", vec![162, 81]),
            ("latent_layers.0.token_mlp.contract.weight", vec![81, 162]),
        ] {
            assert!(tokens.contains(&(name.into(), shape)), "{name}");
        }
    }

    #[test]
    fn names_and_tensors_are_in_one_order() {
        for (state, mixing, positions) in [
            (State::Board, Mixing::None, Positions::None),
            (State::Cell, Mixing::UnitMean, Positions::Learned),
            (State::Cell, Mixing::UnitAttention, Positions::Units),
            (State::Cell, Mixing::TokenMlp, Positions::None),
            (State::Candidate, Mixing::UnitMean, Positions::None),
        ] {
            let sizes =
                NetworkConfig { hidden_dim: 3, l_layers: 1, output_layers: 1, ..NetworkConfig::default() };
            let config = NetworkConfig { state, mixing, positions, heads: 3, ..sizes };
            let mut params = Params::init(&config);
            let layout = Params::layout(&config);
            let shapes: Vec<_> = params.tensors().iter().map(|t| t.shape.clone()).collect();
            assert_eq!(shapes, layout.iter().map(|(_, shape)| shape.clone()).collect::<Vec<_>>());
            assert_eq!(params.tensors_mut().len(), layout.len());
            let saved = params.state_dict(&config);
            let shape = |name: &str| &saved.iter().find(|(n, _)| n == name).unwrap().1.shape;
            assert_eq!(shape("latent_layers.0.net.1.weight"), &[12, 3]);
            assert_eq!(shape("output_layers.0.net.4.weight"), &[3, 12]);
            assert_eq!(shape("output_proj.bias"), &[state.widths()[1]]);
            assert_eq!(Params::from_state_dict(&config, saved.clone()), params);
            let names = Params::matrix_names(&config);
            let matrices = params.matrices();
            assert_eq!(names.len(), matrices.len());
            for (name, matrix) in names.iter().zip(matrices) {
                assert_eq!(shape(name), &matrix.shape, "{name}");
                assert!(!name.starts_with("input_proj") && !name.starts_with("positions"));
            }
        }
    }
}
