//! Weights as products read them: packed once after an update, multiplied by many times.

use super::params::{BlockParams, MixerParams, Params};
use crate::ops::{Format, PackedWeight, transpose};
use crate::parallel::Threads;
use crate::tensor::Tensor;
use crate::timing::{Phase, phase};

/// Packed weights of what mixes the cells.
#[derive(Clone, Debug)]
pub struct PackedMixer {
    /// The first of its maps.
    pub enter: PackedWeight,
    /// The second.
    pub leave: PackedWeight,
}

/// Packed weights of one block.
#[derive(Clone, Debug)]
pub struct PackedBlock {
    /// What mixes the cells before the MLP.
    pub mixer: Option<PackedMixer>,
    /// W1, d to `expansion` d.
    pub expand: PackedWeight,
    /// M_k, one for each kind of unit.
    pub mix: Vec<PackedWeight>,
    /// W2, `expansion` d to d.
    pub contract: PackedWeight,
}

/// Packed weights of a model.
#[derive(Clone, Debug)]
pub struct Packed {
    /// W_in transposed: one row for each channel of the input.
    pub input_t: Vec<f32>,
    /// F, always f32: it has nine inputs.
    pub feedback: Option<PackedWeight>,
    /// One for each block of R.
    pub latent: Vec<PackedBlock>,
    /// One for each block of O.
    pub output: Vec<PackedBlock>,
    /// W_out.
    pub output_proj: PackedWeight,
}

/// One matrix to be packed.
enum Work<'a> {
    Transpose(&'a Tensor, &'a mut [f32]),
    Pack(&'a Tensor, &'a mut PackedWeight),
}

impl Packed {
    /// Packs all weights.
    pub fn new(params: &Params, format: Format, threads: &Threads) -> Self {
        let empty = || PackedWeight::new(format);
        let mixer = |_: &MixerParams| PackedMixer { enter: empty(), leave: empty() };
        let block = |block: &BlockParams| PackedBlock {
            mixer: block.mixer.as_ref().map(mixer),
            expand: empty(),
            mix: block.mix.iter().map(|_| empty()).collect(),
            contract: empty(),
        };
        let mut packed = Self {
            input_t: vec![0.0; params.input_proj.weight.data.len()],
            feedback: params.feedback.as_ref().map(|_| PackedWeight::new(Format::F32)),
            latent: params.latent_layers.iter().map(block).collect(),
            output: params.output_layers.iter().map(block).collect(),
            output_proj: PackedWeight::new(format.for_outputs(params.output_proj.bias.data.len())),
        };
        packed.update(params, threads);
        packed
    }

    /// Packs all weights again, after an update.
    pub fn update(&mut self, params: &Params, threads: &Threads) {
        let mut work = vec![
            Work::Transpose(&params.input_proj.weight, &mut self.input_t),
            Work::Pack(&params.output_proj.weight, &mut self.output_proj),
        ];
        let feedback = params.feedback.iter().zip(&mut self.feedback);
        work.extend(feedback.map(|(weight, packed)| Work::Pack(weight, packed)));
        let blocks = params.latent_layers.iter().chain(&params.output_layers);
        for (block, packed) in blocks.zip(self.latent.iter_mut().chain(&mut self.output)) {
            work.push(Work::Pack(&block.expand.weight, &mut packed.expand));
            work.push(Work::Pack(&block.contract.weight, &mut packed.contract));
            if let (Some(mixer), Some(packed)) = (&block.mixer, &mut packed.mixer) {
                work.push(Work::Pack(&mixer.enter.weight, &mut packed.enter));
                work.push(Work::Pack(&mixer.leave.weight, &mut packed.leave));
            }
            work.extend(block.mix.iter().zip(&mut packed.mix).map(|(mix, packed)| Work::Pack(mix, packed)));
        }
        let shape = |weight: &Tensor| [weight.shape[0], weight.shape[1]];
        threads.for_each(work, |work| {
            let _timed = phase(Phase::Packing);
            match work {
                Work::Transpose(weight, target) => transpose(shape(weight), &weight.data, target),
                Work::Pack(weight, target) => target.pack(shape(weight), &weight.data),
            }
        });
    }
}
