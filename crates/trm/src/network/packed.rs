//! Weights as products read them: packed once after an update, multiplied by many times.

use super::{Id, Role, Weights};
use crate::ops::{Format, PackedWeight, QuantisedWeight, transpose};
use crate::parallel::Threads;
use crate::tensor::Tensor;
use crate::timing::{Phase, phase};
use std::collections::HashMap;
use std::ops::Index;

/// The weights of a network, and the packed forms of the weights that states are multiplied by.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    plain: Weights,
    packed: Vec<Packed>,
}

/// The second form of a tensor.
#[derive(Clone, Debug)]
enum Packed {
    /// The tensor has no second form.
    Plain,
    /// `[in, out]`: one row for each channel of a one-hot input.
    Transposed(Vec<f32>),
    /// What products read.
    Product(PackedWeight),
}

impl PackedWeights {
    /// Packs all weights for products of this format.
    pub fn new(plain: Weights, format: Format, threads: &Threads) -> Self {
        let empty = |role, shape: &[usize]| match role {
            Role::OneHot => Packed::Transposed(vec![0.0; shape.iter().product()]),
            Role::Matrix | Role::UnitMatrix => Packed::Product(PackedWeight::new(format)),
            // It has nine inputs: rounding would cost more than it saves.
            Role::Feedback => Packed::Product(PackedWeight::new(Format::F32)),
            Role::ReadOut => Packed::Product(PackedWeight::new(format.for_outputs(shape[0]))),
            _ => Packed::Plain,
        };
        let packed = plain.layout().entries().iter().map(|entry| empty(entry.role, &entry.shape)).collect();
        let mut weights = Self { plain, packed };
        weights.pack(threads);
        weights
    }

    /// Packs all weights. The weights that `quantised` has by name are packed as whole numbers and cannot be trained;
    /// their f32 values in `plain` are never read.
    ///
    /// The read-out's are, as f32, what its whole numbers stand for: it is a small part of the work, and rounding the answer
    /// state to 8 bits was most of what quantising cost.
    pub fn quantised(
        plain: Weights,
        format: Format,
        quantised: &[(String, QuantisedWeight)],
        threads: &Threads,
    ) -> Self {
        let quantised: HashMap<&str, &QuantisedWeight> =
            quantised.iter().map(|(name, weight)| (name.as_str(), weight)).collect();
        let mut packed: Vec<_> = plain.tensors().iter().map(|_| Packed::Plain).collect();
        let work: Vec<_> = plain.iter().zip(&mut packed).collect();
        threads.for_each(work, |((entry, tensor), packed)| {
            let whole = quantised.get(entry.name.as_str());
            *packed = match (entry.role, whole) {
                (Role::OneHot, _) => Packed::Transposed(transposed(tensor)),
                (Role::ReadOut, Some(whole)) => Packed::Product(packed_f32(&whole.dequantised())),
                (Role::ReadOut | Role::Feedback, None) => Packed::Product(packed_f32(tensor)),
                (role, Some(whole)) if role.is_multiplied() => Packed::Product(whole.packed()),
                (role, None) if role.is_multiplied() => Packed::Product(packed_as(format, tensor)),
                _ => Packed::Plain,
            };
        });
        Self { plain, packed }
    }

    /// Whether the matrices of all blocks are whole numbers; those that unit means are multiplied by may be others.
    pub fn is_quantised(&self) -> bool {
        let entries = self.plain.layout().entries().iter().zip(&self.packed);
        let mut matrices = entries.filter(|(entry, _)| entry.role == Role::Matrix);
        matrices.all(|(_, packed)| matches!(packed, Packed::Product(weight) if weight.is_quantised()))
    }

    /// The weights as they are trained, unpacked.
    pub fn plain(&self) -> &Weights {
        &self.plain
    }

    /// The values of a tensor as they are trained.
    pub fn values(&self, id: Id) -> &[f32] {
        &self.plain[id].data
    }

    /// W_in transposed, `[in, out]`.
    ///
    /// # Panics
    /// If the tensor's role is not [`Role::OneHot`].
    pub fn transposed(&self, id: Id) -> &[f32] {
        match &self.packed[id.0] {
            Packed::Transposed(values) => values,
            _ => panic!("{} has no one-hot input", self.plain.layout()[id].name),
        }
    }

    /// Lets `update` change the values, and packs them again.
    pub fn update<R>(&mut self, threads: &Threads, update: impl FnOnce(&mut Weights) -> R) -> R {
        let result = update(&mut self.plain);
        self.pack(threads);
        result
    }

    fn pack(&mut self, threads: &Threads) {
        let work = self.plain.tensors().iter().zip(&mut self.packed);
        // A piece of work is a tensor that has a second form.
        let work = work.filter(|(_, packed)| !matches!(packed, Packed::Plain)).collect();
        threads.for_each(work, |(tensor, packed): (&Tensor, &mut Packed)| {
            let _timed = phase(Phase::Packing);
            match packed {
                Packed::Plain => {}
                Packed::Transposed(target) => transpose(shape(tensor), &tensor.data, target),
                Packed::Product(target) => target.pack(shape(tensor), &tensor.data),
            }
        });
    }
}

/// What products read of a matrix that states are multiplied by.
///
/// # Panics
/// If nothing is multiplied by the tensor.
impl Index<Id> for PackedWeights {
    type Output = PackedWeight;

    fn index(&self, id: Id) -> &PackedWeight {
        match &self.packed[id.0] {
            Packed::Product(weight) => weight,
            _ => panic!("states are not multiplied by {}", self.plain.layout()[id].name),
        }
    }
}

fn transposed(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.data.len()];
    transpose(shape(tensor), &tensor.data, &mut values);
    values
}

fn packed_f32(tensor: &Tensor) -> PackedWeight {
    packed_as(Format::F32, tensor)
}

fn packed_as(format: Format, tensor: &Tensor) -> PackedWeight {
    let mut packed = PackedWeight::new(format);
    packed.pack(shape(tensor), &tensor.data);
    packed
}

fn shape(weight: &Tensor) -> [usize; 2] {
    [weight.shape[0], weight.shape[1]]
}
