//! Dropout: each value is cleared with probability p, the rest divided by `1 - p`.
//!
//! The mask is a pure function of (seed, step, sample, site, position), so that backward, and activations computed
//! again, meet the mask of the forward pass, and no thread order can change it.

use crate::timing::{Phase, phase};
use trm_kernels::{Part, vectorize};

/// Positions whose mask is made at once, for all arrays.
const RUN: usize = 64;

/// The masks of one training step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    key: u64,
    /// Values whose random number is below this are cleared.
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// No dropout: evaluation.
    pub const OFF: Self = Self { key: 0, threshold: 0, scale: 1.0 };

    /// The masks of a training step.
    pub fn new(probability: f64, seed: u64, step: u64) -> Self {
        let threshold = (probability * 4_294_967_296.0) as u32;
        Self { key: mix(mix(seed) ^ step), threshold, scale: (1.0 / (1.0 - probability)) as f32 }
    }

    /// Clears and scales a part of each of some arrays, all by one mask; applied to a gradient, this is the backward pass.
    ///
    /// `site` numbers the places in the network where dropout is applied.
    ///
    /// # Shapes
    /// Each array is `[rows, columns]` of the part, of rows that have `width` columns; a sample has `tokens` rows, and row 0
    /// belongs to sample `first_sample` of the batch.
    pub fn apply<const N: usize>(
        &self,
        arrays: [&mut [f32]; N],
        [tokens, width]: [usize; 2],
        Part { rows, columns }: &Part,
        first_sample: usize,
        site: usize,
    ) {
        if self.threshold == 0 {
            return;
        }
        let _timed = phase(Phase::Dropout);
        let mut arrays = arrays.map(|values| values.chunks_exact_mut(columns.len()));
        for r in rows.clone() {
            let sample = (first_sample + r / tokens) as u64;
            let key = mix(self.key ^ mix(sample) ^ ((site as u64) << 32));
            let (low, high) = (key as u32, (key >> 32) as u32);
            let first = (r % tokens * width + columns.start) as u32;
            let mut row = arrays.each_mut().map(|rows| rows.next().expect("a row of each array"));
            vectorize(
                #[inline(always)]
                || {
                    for start in (0..columns.len()).step_by(RUN) {
                        let end = (start + RUN).min(columns.len());
                        let kept: [u32; RUN] = std::array::from_fn(|i| {
                            let number = random(first + (start + i) as u32, low, high);
                            if number >= self.threshold { u32::MAX } else { 0 }
                        });
                        for values in &mut row {
                            for (value, kept) in values[start..end].iter_mut().zip(&kept) {
                                *value = f32::from_bits((*value * self.scale).to_bits() & kept);
                            }
                        }
                    }
                },
            );
        }
    }
}

/// SplitMix64's finaliser: a bijection in which every input bit reaches every output bit.
fn mix(key: u64) -> u64 {
    let mut k = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    k = (k ^ (k >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    k = (k ^ (k >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    k ^ (k >> 31)
}

/// 32 random bits for a position under a 64-bit key: two rounds of multiply and shift, a key half before each.
///
/// # Source
/// Multipliers and shifts: "lowbias32", <https://nullprogram.com/blog/2018/07/31/>
#[inline(always)]
fn random(position: u32, low: u32, high: u32) -> u32 {
    let mut x = position ^ low;
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x ^= high;
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(dropout: Dropout, rows: usize, width: usize, first_sample: usize, site: usize) -> Vec<f32> {
        let mut values = vec![1.0; rows * width];
        let all = Part { rows: 0..rows, columns: 0..width };
        dropout.apply([&mut values], [1, width], &all, first_sample, site);
        values
    }

    #[test]
    fn the_wanted_share_is_cleared_and_the_mean_kept() {
        let values = mask(Dropout::new(0.1, 1, 2), 100, 1000, 0, 0);
        let cleared = values.iter().filter(|v| **v == 0.0).count();
        // Binomial with n = 100,000: 6 standard deviations are 570.
        assert!((9_430..=10_570).contains(&cleared), "{cleared} of 100000 cleared");
        assert!(values.iter().all(|v| *v == 0.0 || (*v - 1.0 / 0.9).abs() < 1e-6));
    }

    #[test]
    fn masks_differ_between_samples_sites_and_steps_but_repeat() {
        let base = mask(Dropout::new(0.5, 1, 2), 1, 512, 3, 4);
        assert_eq!(base, mask(Dropout::new(0.5, 1, 2), 1, 512, 3, 4));
        let others = [
            mask(Dropout::new(0.5, 1, 2), 1, 512, 4, 4),
            mask(Dropout::new(0.5, 1, 2), 1, 512, 3, 5),
            mask(Dropout::new(0.5, 1, 3), 1, 512, 3, 4),
            mask(Dropout::new(0.5, 2, 2), 1, 512, 3, 4),
        ];
        for other in others {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            // Binomial with n = 512, p = 1/2: 6 standard deviations are 68.
            assert!((188..=324).contains(&same), "{same} of 512 agree");
        }
    }

    #[test]
    fn a_sample_has_its_mask_wherever_its_row_is() {
        let together = mask(Dropout::new(0.3, 7, 0), 5, 33, 10, 1);
        let alone = mask(Dropout::new(0.3, 7, 0), 1, 33, 13, 1);
        assert_eq!(together[3 * 33..4 * 33], alone);
    }

    #[test]
    fn parts_and_tokens_have_their_part_of_the_mask() {
        let (dropout, tokens, width) = (Dropout::new(0.3, 7, 0), 3, 40);
        let whole = mask(dropout, 2, tokens * width, 5, 1);
        let part = Part { rows: 2..6, columns: 16..24 };
        let mut values = vec![1.0; 4 * 8];
        dropout.apply([&mut values], [tokens, width], &part, 5, 1);
        let rows = whole.chunks(width).skip(2).take(4);
        let want: Vec<f32> = rows.flat_map(|row| row[16..24].to_vec()).collect();
        assert_eq!(values, want);
    }
}
