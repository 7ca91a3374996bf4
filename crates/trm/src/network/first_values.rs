//! The first values of a network's tensors. A layer says of each tensor what they are; they are drawn here, one tensor after the
//! other.

use super::{Layout, Weights};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::PI;
use std::sync::Arc;

/// Standard deviation of the normal distribution cut off at two of its own.
const CUT_OFF_DEVIATION: f64 = 0.879_625_661_034_239_8;

/// The distribution of a tensor's first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct First {
    values: Values,
    factor: Factor,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    Constant(f32),
    Uniform { inputs: usize, turn: u8 },
    Normal { deviation: f64 },
}

/// An exact factor: dividing is not multiplying by the inverse.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Factor {
    One,
    Times(f32),
    Over(f32),
}

impl First {
    /// First values that all equal `value`.
    pub fn constant(value: f32) -> Self {
        Self { values: Values::Constant(value), factor: Factor::One }
    }

    /// First values uniform within `1 / sqrt(inputs)`, PyTorch's default for linear maps.
    ///
    /// Tensors are drawn in the order of the layout, those of turn 0 first, then those of turn 1 and so on: what a turn adds to a
    /// network leaves the first values of the turns before it as they are.
    pub fn uniform(inputs: usize, turn: u8) -> Self {
        Self { values: Values::Uniform { inputs, turn }, factor: Factor::One }
    }

    /// First values from a normal distribution of this standard deviation, cut off at two of its own standard
    /// deviations; drawn in the first turn.
    pub fn normal(deviation: f64) -> Self {
        Self { values: Values::Normal { deviation }, factor: Factor::One }
    }

    /// The same distribution with every value multiplied by `factor`.
    pub fn times(self, factor: f32) -> Self {
        Self { factor: Factor::Times(factor), ..self }
    }

    /// The same distribution with every value divided by `divisor`.
    pub fn over(self, divisor: f32) -> Self {
        Self { factor: Factor::Over(divisor), ..self }
    }

    fn turn(self) -> u8 {
        if let Values::Uniform { turn, .. } = self.values { turn } else { 0 }
    }

    fn fill(self, target: &mut [f32], rng: &mut ChaCha8Rng) {
        match self.values {
            Values::Constant(value) => target.fill(value),
            Values::Uniform { inputs, .. } => {
                let bound = 1.0 / (inputs as f32).sqrt();
                target.iter_mut().for_each(|value| *value = rng.random_range(-bound..bound));
            }
            Values::Normal { deviation } => {
                target.iter_mut().for_each(|value| *value = (deviation * cut_off_normal(rng)) as f32);
            }
        }
        match self.factor {
            Factor::One => {}
            Factor::Times(factor) => target.iter_mut().for_each(|value| *value *= factor),
            Factor::Over(divisor) => target.iter_mut().for_each(|value| *value /= divisor),
        }
    }
}

impl Weights {
    /// First values, drawn from `seed`.
    pub fn first(layout: &Arc<Layout>, seed: u64) -> Self {
        let mut weights = Self::zeros(layout);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let turns = layout.entries().iter().map(|entry| entry.first.turn()).max().unwrap_or(0);
        for turn in 0..=turns {
            for (entry, tensor) in weights.iter_mut().filter(|(entry, _)| entry.first.turn() == turn) {
                entry.first.fill(&mut tensor.data, &mut rng);
            }
        }
        weights
    }
}

/// A number of mean 0 and variance 1, never further out than two deviations of the uncut distribution.
fn cut_off_normal(rng: &mut impl Rng) -> f64 {
    loop {
        // Box and Muller's transformation.
        let radius = (-2.0 * rng.random_range(f64::MIN_POSITIVE..1.0).ln()).sqrt();
        let normal = radius * (2.0 * PI * rng.random_range(0.0..1.0)).cos();
        if normal.abs() <= 2.0 {
            return normal / CUT_OFF_DEVIATION;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Role;

    #[test]
    fn a_later_turn_leaves_the_values_of_earlier_ones_as_they_are() {
        let layout = |with_more: bool| {
            let mut layout = Layout::default();
            if with_more {
                layout.add("more", &[5], Role::Embedding, First::uniform(4, 1));
            }
            layout.add("weight", &[3, 4], Role::Matrix, First::uniform(4, 0).times(0.5));
            layout.add("gain", &[2], Role::Gain, First::constant(3.0).over(2.0));
            Arc::new(layout)
        };
        let [few, more] = [false, true].map(|with_more| Weights::first(&layout(with_more), 7));
        assert_eq!(few["weight"], more["weight"]);
        assert_eq!(few["gain"].data, [1.5, 1.5]);
        assert!(few["weight"].data.iter().all(|v| v.abs() <= 0.25 && *v != 0.0));
        assert_ne!(few["weight"], Weights::first(&layout(false), 8)["weight"]);
    }

    #[test]
    fn cut_off_normal_numbers_have_the_variance_they_should() {
        let mut layout = Layout::default();
        layout.add("weight", &[200, 200], Role::Matrix, First::normal(0.125));
        let values = Weights::first(&Arc::new(layout), 1).tensors()[0].data.clone();
        let variance = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len() as f64;
        assert!((variance / 0.125f64.powi(2) - 1.0).abs() < 0.03, "{variance}");
        assert!(values.iter().all(|v| v.abs() <= 2.28 * 0.125));
    }
}
