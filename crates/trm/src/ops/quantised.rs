//! Weight matrices of whole numbers: `w[o, k] = scale[o, k / group] q[o, k]`, eight bits a weight with a scale for each
//! output, or four with a scale for each group of inputs.

use super::PackedWeight;
use crate::tensor::Tensor;
use half::bf16;
pub use trm_kernels::WeightBits;
use trm_kernels::{LONGEST_GROUP, Right, vectorize};

/// Scales that are tried: from the one that the largest magnitude needs down to `1 - TRIED / 64` of it.
const TRIED: usize = 48;

/// A quantised matrix, `[out, in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantisedWeight {
    /// Width of a number.
    pub bits: WeightBits,
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// Inputs that share a scale.
    pub group: usize,
    /// q, `[out, in]`
    pub values: Vec<i8>,
    /// `[out, groups]`
    pub scales: Vec<f32>,
    /// The step that inputs are rounded to multiples of; without one it is a 127th of the largest magnitude of each
    /// row.
    pub step: Option<f32>,
}

/// The levels that weights are rounded to when matrices are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// 8 bits, one scale for each output.
    Int8,
    /// 4 bits, one scale for each group of so many inputs, rounded to bfloat16.
    Int4 {
        /// A multiple of 8.
        group: usize,
    },
}

impl Levels {
    fn bits(self) -> WeightBits {
        match self {
            Self::Int8 => WeightBits::Eight,
            Self::Int4 { .. } => WeightBits::Four,
        }
    }

    /// Inputs of a matrix with `inputs` inputs that share a scale.
    fn group(self, inputs: usize) -> usize {
        match self {
            Self::Int8 => inputs.clamp(1, LONGEST_GROUP),
            Self::Int4 { group } => group,
        }
    }

    /// A scale as it is stored.
    fn stored(self, scale: f32) -> f32 {
        match self {
            Self::Int8 => scale,
            Self::Int4 { .. } => bf16::from_f32(scale).to_f32(),
        }
    }
}

impl QuantisedWeight {
    /// Rounds a matrix. Each scale is the one of 48 that leaves the least `sum_k m[k] (w[k] - scale q[k])^2`, where m is the
    /// mean square of each input, if it is known, else 1.
    ///
    /// # Shapes
    /// `weight` is `[out, in]`, `mean_squares` is `[in]`.
    pub fn new(weight: &Tensor, levels: Levels, mean_squares: Option<&[f32]>) -> Self {
        let [out, inputs] = [weight.shape[0], weight.shape[1]];
        let group = levels.group(inputs);
        let even = vec![1.0; if mean_squares.is_some() { 0 } else { inputs }];
        let mean_squares = mean_squares.unwrap_or(&even);
        let mut values = vec![0; weight.data.len()];
        let mut scales = Vec::with_capacity(out * inputs.div_ceil(group));
        let rows = weight.data.chunks_exact(inputs.max(1)).zip(values.chunks_exact_mut(inputs.max(1)));
        for (row, values) in rows {
            let groups = row.chunks(group).zip(mean_squares.chunks(group)).zip(values.chunks_mut(group));
            for ((weights, mean_squares), values) in groups {
                let scale = best_scale(weights, mean_squares, levels);
                round_weights(weights, scale, levels.bits().largest(), values);
                scales.push(scale);
            }
        }
        Self { bits: levels.bits(), shape: [out, inputs], group, values, scales, step: None }
    }

    /// Scales of an output.
    pub fn groups(&self) -> usize {
        self.shape[1].div_ceil(self.group.max(1))
    }

    /// The weights that the quantised matrix stands for, `[out, in]`.
    pub fn dequantised(&self) -> Tensor {
        let [_, inputs] = self.shape;
        let rows =
            self.values.chunks_exact(inputs.max(1)).zip(self.scales.chunks_exact(self.groups().max(1)));
        let data = rows.flat_map(|(values, scales)| {
            let groups = values.chunks(self.group).zip(scales);
            groups.flat_map(|(values, scale)| values.iter().map(move |q| f32::from(*q) * scale))
        });
        Tensor { data: data.collect(), shape: self.shape.to_vec() }
    }

    /// The form that products read.
    pub fn packed(&self) -> PackedWeight {
        let [out, inputs] = self.shape;
        let shape = [inputs, out];
        PackedWeight::quantised(Right::quantised(
            self.bits,
            shape,
            self.group,
            &self.values,
            &self.scales,
            self.step,
        ))
    }
}

fn best_scale(weights: &[f32], mean_squares: &[f32], levels: Levels) -> f32 {
    let largest = f32::from(levels.bits().largest());
    let whole = weights.iter().fold(0.0f32, |most, w| most.max(w.abs())) / largest;
    let tried = (0..TRIED).map(|i| levels.stored(whole * (1.0 - i as f32 / 64.0)));
    let mut best = (f32::INFINITY, levels.stored(whole));
    for scale in tried {
        let error = vectorize(
            #[inline(always)]
            || squared_error(weights, mean_squares, scale, largest),
        );
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

/// In sixteen sums, so that it can be computed in registers.
#[inline(always)]
fn squared_error(weights: &[f32], mean_squares: &[f32], scale: f32, largest: f32) -> f32 {
    const LANES: usize = 16;
    let per_scale = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let error = |w: f32, m: f32| {
        let left = w - scale * whole(w * per_scale, largest);
        m * left * left
    };
    let ((weights, last), (mean_squares, last_mean_squares)) =
        (weights.as_chunks::<LANES>(), mean_squares.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (weights, mean_squares) in weights.iter().zip(mean_squares) {
        for ((sum, w), m) in sums.iter_mut().zip(weights).zip(mean_squares) {
            *sum += error(*w, *m);
        }
    }
    let rest: f32 = last.iter().zip(last_mean_squares).map(|(w, m)| error(*w, *m)).sum();
    sums.iter().sum::<f32>() + rest
}

/// The nearest whole number, ties to even, at most `largest` in magnitude.
#[inline(always)]
fn whole(value: f32, largest: f32) -> f32 {
    /// 1.5 * 2^23: numbers of this size are whole.
    const WHOLE: f32 = 12_582_912.0;
    value.clamp(-largest, largest) + WHOLE - WHOLE
}

fn round_weights(weights: &[f32], scale: f32, largest: i8, values: &mut [i8]) {
    let per_scale = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (q, w) in values.iter_mut().zip(weights) {
        *q = whole(w * per_scale, f32::from(largest)) as i8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::gradient_check::numbers;
    use crate::ops::{Format, linear_forward};

    fn matrix(out: usize, inputs: usize, seed: u32) -> Tensor {
        Tensor { shape: vec![out, inputs], data: numbers(out * inputs, seed) }
    }

    #[test]
    fn weights_on_the_grid_stay_as_they_are() {
        for levels in [Levels::Int8, Levels::Int4 { group: 8 }] {
            let once = QuantisedWeight::new(&matrix(5, 33, 1), levels, None);
            let mut on_grid = once.clone();
            // A group whose largest weight is a whole 7 or 127 tells its scale; powers of two are exact.
            on_grid.scales.iter_mut().for_each(|scale| *scale = 0.25);
            for row in on_grid.values.chunks_mut(33) {
                row.chunks_mut(once.group).for_each(|group| group[0] = once.bits.largest());
            }
            assert_eq!(QuantisedWeight::new(&on_grid.dequantised(), levels, None), on_grid, "{levels:?}");
        }
    }

    #[test]
    fn no_weight_moves_further_than_the_scale_without_clipping_allows() {
        for (levels, largest) in [(Levels::Int8, 127.0), (Levels::Int4 { group: 16 }, 7.0)] {
            let weight = matrix(4, 40, 2);
            let error = |w: &QuantisedWeight| -> f32 {
                w.dequantised().data.iter().zip(&weight.data).map(|(q, w)| (q - w) * (q - w)).sum()
            };
            let quantised = QuantisedWeight::new(&weight, levels, None);
            // The search has the scale without clipping among its candidates.
            let mut plain = 0.0;
            for row in weight.data.chunks(40) {
                for group in row.chunks(quantised.group) {
                    let scale = levels.stored(group.iter().fold(0.0f32, |m, w| m.max(w.abs())) / largest);
                    plain += group
                        .iter()
                        .map(|w| (w - scale * (w / scale).round().clamp(-largest, largest)).powi(2))
                        .sum::<f32>();
                }
            }
            assert!(error(&quantised) <= plain * 1.0001, "{levels:?}: {} > {plain}", error(&quantised));
        }
    }

    #[test]
    fn inputs_that_count_more_are_rounded_better() {
        let weight = matrix(8, 32, 3);
        let mean_squares: Vec<f32> = (0..32).map(|k| if k % 4 == 0 { 100.0 } else { 0.01 }).collect();
        let levels = Levels::Int4 { group: 32 };
        let error = |quantised: &QuantisedWeight| -> f32 {
            let pairs = quantised.dequantised().data.into_iter().zip(&weight.data).enumerate();
            pairs.map(|(i, (q, w))| mean_squares[i % 32] * (q - w) * (q - w)).sum()
        };
        let even = QuantisedWeight::new(&weight, levels, None);
        let weighted = QuantisedWeight::new(&weight, levels, Some(&mean_squares));
        assert!(error(&weighted) < error(&even));
    }

    #[test]
    fn products_are_those_of_the_dequantised_weights() {
        let (rows, inputs, out) = (7, 33, 70);
        let (input, bias) = (numbers(rows * inputs, 1), numbers(out, 2));
        for levels in [Levels::Int8, Levels::Int4 { group: 16 }] {
            let quantised = QuantisedWeight::new(&matrix(out, inputs, 3), levels, None);
            let mut exact = PackedWeight::new(Format::F32);
            exact.pack([out, inputs], &quantised.dequantised().data);
            let mut outputs = [vec![0.0; rows * out], vec![0.0; rows * out]];
            linear_forward(&input, &exact, &bias, &mut outputs[0]);
            linear_forward(&input, &quantised.packed(), &bias, &mut outputs[1]);
            let [exact, rounded] = outputs;
            let largest = exact.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (e, r) in exact.iter().zip(&rounded) {
                assert!((e - r).abs() < 0.01 * largest, "{levels:?}: {e} and {r}");
            }
        }
    }

    #[test]
    fn rows_of_zeros_and_empty_matrices_are_quantised() {
        for (out, inputs) in [(0, 3), (2, 0), (2, 3)] {
            let weight = Tensor::zeros(&[out, inputs]);
            for levels in [Levels::Int8, Levels::Int4 { group: 8 }] {
                assert_eq!(QuantisedWeight::new(&weight, levels, None).dequantised(), weight);
            }
        }
    }
}
