//! First values of the paper's model.

use super::{Config, Params};
use crate::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::PI;

/// Standard deviation of the normal distribution cut off at two of its own.
const CUT_OFF_DEVIATION: f64 = 0.879_625_661_034_239_8;
/// First bias of q_halt and q_continue: nothing is halted before halting has been learnt.
const Q_BIAS: f32 = -5.0;

impl Params {
    /// First values as in the official program, drawn from `seed`: normal distributions cut off at two deviations, of
    /// variance 1 / inputs for matrices, 1 / d for the token embedding and 1 for both first states; q_halt and q_continue
    /// are -5, the puzzle embedding 0.
    pub fn init(config: &Config, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut params = Self::zeros(config);
        let mut draw = |tensor: &mut Tensor, deviation: f64| {
            tensor.data.iter_mut().for_each(|value| *value = (deviation * cut_off_normal(&mut rng)) as f32);
        };
        let by_inputs = |tensor: &Tensor| 1.0 / (tensor.shape[1] as f64).sqrt();
        draw(&mut params.h_init, 1.0);
        draw(&mut params.l_init, 1.0);
        let matrices = params.branches.iter_mut().flat_map(|branch| [&mut branch.enter, &mut branch.leave]);
        for tensor in [&mut params.embed_tokens, &mut params.lm_head].into_iter().chain(matrices) {
            let deviation = by_inputs(tensor);
            draw(tensor, deviation);
        }
        params.q_bias.data.fill(Q_BIAS);
        params
    }
}

/// A number of mean 0 and variance 1, never further out than two deviations of the uncut distribution.
fn cut_off_normal(rng: &mut ChaCha8Rng) -> f64 {
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

    #[test]
    fn matrices_keep_the_variance_of_their_input() {
        let config = Config { mlp_t: true, hidden_size: 64, puzzle_emb_ndim: 64, ..Config::default() };
        let config = Config { mlp_width: 160, mlp_t_width: 160, ..config };
        let params = Params::init(&config, 1);
        for branch in &params.branches {
            for tensor in [&branch.enter, &branch.leave] {
                let n = tensor.data.len() as f64;
                let variance = tensor.data.iter().map(|v| f64::from(v * v)).sum::<f64>() / n;
                let wanted = 1.0 / tensor.shape[1] as f64;
                assert!((variance / wanted - 1.0).abs() < 0.03, "{variance} for {wanted}");
            }
        }
        assert!(params.h_init.data.iter().all(|v| v.abs() <= 2.28) && params.q_bias.data == [-5.0; 2]);
        assert!(params == Params::init(&config, 1) && params != Params::init(&config, 2));
    }
}
