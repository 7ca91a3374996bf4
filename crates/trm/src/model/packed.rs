//! Weights as products read them: packed once after an update, multiplied by many times.

use super::params::{BlockParams, MixerParams, Params};
use crate::ops::{Format, PackedWeight, QuantisedWeight, transpose};
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
        let mut packed = Self::empty(params, format);
        packed.update(params, threads);
        packed
    }

    /// Packs all weights, some of them quantised: one entry for each of [`Params::matrices`].
    ///
    /// The read-out's are, as f32, what its whole numbers stand for: it is a small part of the work, and rounding the answer
    /// state to 8 bits was most of what quantising cost.
    pub fn quantised(
        params: &Params,
        format: Format,
        quantised: &[Option<&QuantisedWeight>],
        threads: &Threads,
    ) -> Self {
        let mut packed = Self::empty(params, format);
        packed.output_proj = PackedWeight::new(Format::F32);
        let read_out = quantised.len() - 1;
        let work = packed
            .matrices_mut()
            .into_iter()
            .zip(params.matrices())
            .zip(quantised.iter().enumerate())
            .collect();
        threads.for_each(work, |((target, weight), (i, quantised))| match quantised {
            Some(quantised) if i == read_out => target.pack(shape(weight), &quantised.dequantised().data),
            Some(quantised) => *target = quantised.packed(),
            None => target.pack(shape(weight), &weight.data),
        });
        let weight = &params.input_proj.weight;
        transpose(shape(weight), &weight.data, &mut packed.input_t);
        packed
    }

    /// Whether the MLPs of all blocks, and what mixes the cells before them, have weights of whole numbers.
    pub fn is_quantised(&self) -> bool {
        let mut weights = self.latent.iter().chain(&self.output).flat_map(|block| {
            let mixer = block.mixer.iter().flat_map(|mixer| [&mixer.enter, &mixer.leave]);
            mixer.chain([&block.expand, &block.contract])
        });
        weights.all(PackedWeight::is_quantised)
    }

    fn empty(params: &Params, format: Format) -> Self {
        let empty = || PackedWeight::new(format);
        let mixer = |_: &MixerParams| PackedMixer { enter: empty(), leave: empty() };
        let block = |block: &BlockParams| PackedBlock {
            mixer: block.mixer.as_ref().map(mixer),
            expand: empty(),
            mix: block.mix.iter().map(|_| empty()).collect(),
            contract: empty(),
        };
        Self {
            input_t: vec![0.0; params.input_proj.weight.data.len()],
            feedback: params.feedback.as_ref().map(|_| PackedWeight::new(Format::F32)),
            latent: params.latent_layers.iter().map(block).collect(),
            output: params.output_layers.iter().map(block).collect(),
            output_proj: PackedWeight::new(format.for_outputs(params.output_proj.bias.data.len())),
        }
    }

    /// Packs all weights again, after an update.
    pub fn update(&mut self, params: &Params, threads: &Threads) {
        // W_in is not among the matrices, so both can be borrowed.
        let mut input_t = std::mem::take(&mut self.input_t);
        let mut work = vec![Work::Transpose(&params.input_proj.weight, &mut input_t)];
        let matrices = params.matrices().into_iter().zip(self.matrices_mut());
        work.extend(matrices.map(|(weight, packed)| Work::Pack(weight, packed)));
        threads.for_each(work, |work| {
            let _timed = phase(Phase::Packing);
            match work {
                Work::Transpose(weight, target) => transpose(shape(weight), &weight.data, target),
                Work::Pack(weight, target) => target.pack(shape(weight), &weight.data),
            }
        });
        self.input_t = input_t;
    }

    /// In the order of [`Params::matrices`].
    fn matrices_mut(&mut self) -> Vec<&mut PackedWeight> {
        let mut all: Vec<_> = self.feedback.iter_mut().collect();
        for block in self.latent.iter_mut().chain(&mut self.output) {
            all.extend(block.mixer.iter_mut().flat_map(|mixer| [&mut mixer.enter, &mut mixer.leave]));
            all.push(&mut block.expand);
            all.extend(&mut block.mix);
            all.push(&mut block.contract);
        }
        all.push(&mut self.output_proj);
        all
    }
}

fn shape(weight: &Tensor) -> [usize; 2] {
    [weight.shape[0], weight.shape[1]]
}
