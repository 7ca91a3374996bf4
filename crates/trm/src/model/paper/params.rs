//! The tensors of a model of the paper.

use super::Config;
use crate::tensor::{StateDict, Tensor};

/// Two matrices around a nonlinearity: `W_leave g(W_enter x)`, where g is SwiGLU or attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// `gate_up_proj` or `qkv_proj`.
    pub enter: Tensor,
    /// `down_proj` or `o_proj`.
    pub leave: Tensor,
}

/// All tensors of a model; gradients and optimiser moments have the same type.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// What z_H starts from, `[d]`; not trained.
    pub h_init: Tensor,
    /// What z_L starts from, `[d]`; not trained.
    pub l_init: Tensor,
    /// `[11, d]`
    pub embed_tokens: Tensor,
    /// `[11, d]`
    pub lm_head: Tensor,
    /// `[2, d]`: q_halt and q_continue.
    pub q_weight: Tensor,
    /// `[2]`
    pub q_bias: Tensor,
    /// `[identifiers, values]`
    pub puzzle_emb: Tensor,
    /// Of each layer, what mixes tokens and what mixes channels.
    pub branches: Vec<Branch>,
}

/// Lists every tensor in the order of [`Config::layout`].
macro_rules! tensors_in_order {
    ($params:expr, $iter:ident, $($mutable:tt)?) => {{
        let params = $params;
        let mut all = vec![&$($mutable)? params.h_init, &$($mutable)? params.l_init];
        all.extend([&$($mutable)? params.embed_tokens, &$($mutable)? params.lm_head]);
        all.extend([&$($mutable)? params.q_weight, &$($mutable)? params.q_bias]);
        all.push(&$($mutable)? params.puzzle_emb);
        for branch in params.branches.$iter() {
            all.extend([&$($mutable)? branch.enter, &$($mutable)? branch.leave]);
        }
        all
    }};
}

impl Params {
    /// Zeros in the shapes that `config` asks for.
    pub fn zeros(config: &Config) -> Self {
        Self::build(config, |_, shape| Tensor::zeros(&shape))
    }

    /// Takes the values of a state dict that has been checked against `config`.
    ///
    /// # Panics
    /// If a name is missing or a shape differs; [`crate::checkpoint`] reports those as errors.
    pub fn from_state_dict(config: &Config, state: &StateDict) -> Self {
        Self::build(config, |name, shape| {
            let (_, value) = state.iter().find(|(n, _)| *n == name).expect("checked names");
            assert_eq!(shape, value.shape, "checked shape of {name}");
            value.clone()
        })
    }

    fn build(config: &Config, mut make: impl FnMut(String, Vec<usize>) -> Tensor) -> Self {
        let mut tensors = config.layout().into_iter().map(|(name, shape)| make(name, shape));
        let mut next = || tensors.next().expect("the layout has every tensor");
        Self {
            h_init: next(),
            l_init: next(),
            embed_tokens: next(),
            lm_head: next(),
            q_weight: next(),
            q_bias: next(),
            puzzle_emb: next(),
            branches: (0..2 * config.l_layers).map(|_| Branch { enter: next(), leave: next() }).collect(),
        }
    }

    /// Every tensor, in the order of [`Config::layout`].
    pub fn tensors(&self) -> Vec<&Tensor> {
        tensors_in_order!(self, iter,)
    }

    /// Every tensor, in the order of [`Config::layout`].
    pub fn tensors_mut(&mut self) -> Vec<&mut Tensor> {
        tensors_in_order!(self, iter_mut, mut)
    }

    /// The tensors that are trained, but for the puzzle embedding, which has a rule of its own.
    pub fn trained_by_adamw_mut(&mut self) -> Vec<&mut Tensor> {
        let heads = [&mut self.embed_tokens, &mut self.lm_head, &mut self.q_weight, &mut self.q_bias];
        let branches = self.branches.iter_mut().flat_map(|branch| [&mut branch.enter, &mut branch.leave]);
        heads.into_iter().chain(branches).collect()
    }

    /// A copy of every tensor by name; `config` is the one they were made for.
    pub fn state_dict(&self, config: &Config) -> StateDict {
        let names = config.layout().into_iter().map(|(name, _)| name);
        names.zip(self.tensors().into_iter().cloned()).collect()
    }

    /// Sets every value to zero.
    pub fn clear(&mut self) {
        self.tensors_mut().into_iter().for_each(|tensor| tensor.data.fill(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tensors_are_in_one_order() {
        for mlp_t in [false, true] {
            let config = Config { hidden_size: 8, num_heads: 2, mlp_t, ..Config::default() };
            let config = Config { puzzle_emb_ndim: 8, ..config };
            let mut params = Params::zeros(&config);
            for (i, tensor) in params.tensors_mut().into_iter().enumerate() {
                tensor.data.fill(i as f32);
            }
            let state = params.state_dict(&config);
            assert!(state.iter().enumerate().all(|(i, (_, tensor))| tensor.data[0] == i as f32));
            assert_eq!(Params::from_state_dict(&config, &state), params);
        }
    }
}
