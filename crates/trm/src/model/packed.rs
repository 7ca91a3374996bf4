//! Weights as products read them: packed once after an update, multiplied by many times.

use super::params::{BlockParams, Linear, Params};
use crate::ops::{Format, PackedWeight, transpose};
use crate::parallel::Threads;

/// Packed weights of one block.
#[derive(Clone, Debug)]
pub struct PackedBlock {
    /// d to 4d
    pub expand: PackedWeight,
    /// 4d to d
    pub contract: PackedWeight,
}

/// Packed weights of a model.
#[derive(Clone, Debug)]
pub struct Packed {
    /// `[810, d]`: one row for each channel of each cell.
    pub input_t: Vec<f32>,
    /// One for each block of R.
    pub latent: Vec<PackedBlock>,
    /// One for each block of O.
    pub output: Vec<PackedBlock>,
    /// d to 729
    pub output_proj: PackedWeight,
}

/// One matrix to be packed.
enum Work<'a> {
    Transpose(&'a Linear, &'a mut [f32]),
    Pack(&'a Linear, &'a mut PackedWeight),
}

impl Packed {
    /// Packs all weights.
    pub fn new(params: &Params, format: Format, threads: &Threads) -> Self {
        let empty = || PackedWeight::new(format);
        let block = |_: &BlockParams| PackedBlock { expand: empty(), contract: empty() };
        let mut packed = Self {
            input_t: vec![0.0; params.input_proj.weight.data.len()],
            latent: params.latent_layers.iter().map(block).collect(),
            output: params.output_layers.iter().map(block).collect(),
            output_proj: empty(),
        };
        packed.update(params, threads);
        packed
    }

    /// Packs all weights again, after an update.
    pub fn update(&mut self, params: &Params, threads: &Threads) {
        let mut work = vec![
            Work::Transpose(&params.input_proj, &mut self.input_t),
            Work::Pack(&params.output_proj, &mut self.output_proj),
        ];
        let blocks = params.latent_layers.iter().chain(&params.output_layers);
        for (block, packed) in blocks.zip(self.latent.iter_mut().chain(&mut self.output)) {
            work.push(Work::Pack(&block.expand, &mut packed.expand));
            work.push(Work::Pack(&block.contract, &mut packed.contract));
        }
        let shape = |linear: &Linear| [linear.weight.shape[0], linear.weight.shape[1]];
        threads.for_each(work, |work| match work {
            Work::Transpose(linear, target) => transpose(shape(linear), &linear.weight.data, target),
            Work::Pack(linear, target) => target.pack(shape(linear), &linear.weight.data),
        });
    }
}
