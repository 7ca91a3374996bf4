//! Weights as the forward pass reads them: transposed once after an update, multiplied by many times.

use super::params::{BlockParams, Linear, Params};
use crate::ops::transpose;
use crate::parallel::Threads;

/// Transposed weights of one block.
#[derive(Clone, Debug)]
pub struct PackedBlock {
    /// `[d, 4d]`
    pub expand_t: Vec<f32>,
    /// `[4d, d]`
    pub contract_t: Vec<f32>,
}

/// Transposed weights of a model.
#[derive(Clone, Debug)]
pub struct Packed {
    /// `[810, d]`
    pub input_t: Vec<f32>,
    /// One for each block of R.
    pub latent: Vec<PackedBlock>,
    /// One for each block of O.
    pub output: Vec<PackedBlock>,
    /// `[d, 729]`
    pub output_t: Vec<f32>,
}

impl Packed {
    /// Transposes all weights.
    pub fn new(params: &Params, threads: &Threads) -> Self {
        let empty = |linear: &Linear| vec![0.0; linear.weight.data.len()];
        let block =
            |b: &BlockParams| PackedBlock { expand_t: empty(&b.expand), contract_t: empty(&b.contract) };
        let mut packed = Self {
            input_t: empty(&params.input_proj),
            latent: params.latent_layers.iter().map(block).collect(),
            output: params.output_layers.iter().map(block).collect(),
            output_t: empty(&params.output_proj),
        };
        packed.update(params, threads);
        packed
    }

    /// Transposes all weights again, after an update.
    pub fn update(&mut self, params: &Params, threads: &Threads) {
        let mut pairs =
            vec![(&params.input_proj, &mut self.input_t), (&params.output_proj, &mut self.output_t)];
        let blocks = params.latent_layers.iter().chain(&params.output_layers);
        for (block, packed) in blocks.zip(self.latent.iter_mut().chain(&mut self.output)) {
            pairs.push((&block.expand, &mut packed.expand_t));
            pairs.push((&block.contract, &mut packed.contract_t));
        }
        threads.for_each(pairs, |(linear, target)| {
            transpose([linear.weight.shape[0], linear.weight.shape[1]], &linear.weight.data, target);
        });
    }
}
