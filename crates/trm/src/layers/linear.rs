//! A linear map, `W x + b`: the tensors. Its products are part of the layers that use it, which fuse them with what comes before and
//! after.

use crate::network::{First, Id, Layout, PackedWeights, Role};
use crate::ops::PackedWeight;

/// The tensors of a linear map.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Id,
    /// `[out]`
    pub bias: Id,
}

/// How the first values of a linear map go by `init_scale`, the size of the first states.
#[derive(Clone, Copy, Debug)]
pub enum Scaled {
    /// First values do not depend on `init_scale`.
    No,
    /// The map reads inputs that are larger by as much as the first states are smaller. The weight is scaled with the
    /// states.
    Reading(f32),
    /// The map makes states. Weight and bias are scaled with the states.
    Making(f32),
}

impl Linear {
    /// `name.weight` and `name.bias`, PyTorch's first values, drawn in `turn` and scaled.
    pub fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, out]: [usize; 2],
        (role, turn): (Role, u8),
        scaled: Scaled,
    ) -> Self {
        let first = First::uniform(inputs, turn);
        let [weight, bias] = match scaled {
            Scaled::No => [first, first],
            Scaled::Reading(scale) => [first.times(scale), first],
            Scaled::Making(scale) => [first.times(scale), first.times(scale)],
        };
        Self {
            weight: layout.add(format!("{name}.weight"), &[out, inputs], role, weight),
            bias: layout.add(format!("{name}.bias"), &[out], Role::Bias, bias),
        }
    }

    /// The operands of the forward product: the packed weight, and the bias.
    pub fn read<'a>(&self, w: &'a PackedWeights) -> (&'a PackedWeight, &'a [f32]) {
        (&w[self.weight], w.values(self.bias))
    }
}
