//! AdamW with global-norm clipping and an optional moving average of the weights.

use crate::config::TrainingConfig;
use crate::network::Weights;
use crate::parallel::Threads;
use crate::timing::{Phase, phase};
use trm_kernels::{math, vectorize};

/// Added to the root of the second moment; PyTorch's default.
pub const ADAM_EPS: f64 = 1e-8;
/// Values that are one piece of work. Sums are formed piece by piece, whatever the number of threads.
const PIECE: usize = 1 << 16;

/// Optimiser state.
///
/// # Source
/// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101;
/// <https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html>
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Updates made so far.
    pub step: u64,
    /// First moments m.
    pub exp_avg: Weights,
    /// Second moments v.
    pub exp_avg_sq: Weights,
}

/// L2 norm of all values.
pub fn global_norm(grads: &Weights, threads: &Threads) -> f64 {
    let pieces: Vec<&[f32]> = grads.tensors().iter().flat_map(|t| t.data.chunks(PIECE)).collect();
    let mut squares = vec![0.0f64; pieces.len()];
    threads.for_each(
        pieces.into_iter().zip(&mut squares).collect(),
        |(piece, square): (&[f32], &mut f64)| {
            let _timed = phase(Phase::Optimizer);
            // Short runs in f32, their sum in f64: a long f32 sum would lose the last digits.
            *square = vectorize(
                #[inline(always)]
                || piece.chunks(256).map(|run| f64::from(math::dot(run, run))).sum(),
            );
        },
    );
    squares.iter().sum::<f64>().sqrt()
}

/// What gradients are multiplied by so that their norm is at most `clip_norm`; PyTorch's formula.
pub fn clip_factor(norm: f64, clip_norm: f64) -> f64 {
    (clip_norm / (norm + 1e-6)).min(1.0)
}

impl AdamW {
    /// Zero moments for these weights.
    pub fn new(weights: &Weights) -> Self {
        let zeros = || Weights::zeros(weights.layout());
        Self { step: 0, exp_avg: zeros(), exp_avg_sq: zeros() }
    }

    /// One update of `weights`, and of their average `ema` if there is one.
    ///
    /// `g <- clip g; p <- p - lr wd p; m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
    /// p <- p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps); ema <- decay ema + (1 - decay) p`
    pub fn update(
        &mut self,
        config: &TrainingConfig,
        lr: f64,
        clip: f64,
        [weights, grads]: [&mut Weights; 2],
        ema: Option<&mut Weights>,
        threads: &Threads,
    ) {
        self.step += 1;
        let rule = AdamWRule {
            step: self.step,
            lr,
            clip,
            betas: (config.beta1, config.beta2),
            weight_decay: config.weight_decay,
            ema: config.ema,
        };
        let mut averages = ema.map(|e| e.tensors_mut().iter_mut());
        let moments = self.exp_avg.tensors_mut().iter_mut().zip(self.exp_avg_sq.tensors_mut());
        let pairs = weights.iter_mut().zip(grads.tensors());
        let tensors = pairs.zip(moments).map(|(((entry, p), g), (m, v))| TensorUpdate {
            is_decayed: entry.role.is_decayed(),
            values: &mut p.data,
            gradient: &g.data,
            moments: [&mut m.data, &mut v.data],
            average: averages.as_mut().and_then(Iterator::next).map(|a| &mut a.data[..]),
        });
        rule.update(tensors.collect(), threads);
    }
}

/// The numbers of one update by AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamWRule {
    /// Number of the update, t, from 1.
    pub step: u64,
    /// Learning rate.
    pub lr: f64,
    /// What gradients are multiplied by.
    pub clip: f64,
    /// Decay rates of the moments.
    pub betas: (f64, f64),
    /// Weight decay of the tensors that decay.
    pub weight_decay: f64,
    /// Decay rate of the average, if there is one.
    pub ema: f64,
}

/// A tensor to be updated, all parts of one length.
#[derive(Debug)]
pub struct TensorUpdate<'a> {
    /// Whether weight decay applies.
    pub is_decayed: bool,
    /// p
    pub values: &'a mut [f32],
    /// g
    pub gradient: &'a [f32],
    /// m and v
    pub moments: [&'a mut [f32]; 2],
    /// The moving average of p.
    pub average: Option<&'a mut [f32]>,
}

impl AdamWRule {
    /// Updates some tensors as [`AdamW::update`] says.
    pub fn update(self, tensors: Vec<TensorUpdate>, threads: &Threads) {
        let (t, (beta1, beta2)) = (self.step as f64, self.betas);
        let formula = Formula {
            clip: self.clip as f32,
            keep: 1.0,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            step_size: (self.lr / (1.0 - beta1.powf(t))) as f32,
            inv_root_correction: (1.0 / (1.0 - beta2.powf(t)).sqrt()) as f32,
            ema: self.ema as f32,
        };
        let keep_decayed = (1.0 - self.lr * self.weight_decay) as f32;
        let mut work = Vec::new();
        for TensorUpdate { is_decayed, values, gradient, moments: [m, v], average } in tensors {
            let formula = Formula { keep: if is_decayed { keep_decayed } else { 1.0 }, ..formula };
            let mut average = average.map(|a| a.chunks_mut(PIECE));
            let pieces = values.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
            let moments = m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE));
            for ((p, g), (m, v)) in pieces.zip(moments) {
                let average = average.as_mut().and_then(Iterator::next);
                work.push((formula, Piece { p, g, m, v, average }));
            }
        }
        threads.for_each(work, |(formula, piece)| formula.apply(piece));
    }
}

struct Piece<'a> {
    p: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    average: Option<&'a mut [f32]>,
}

#[derive(Clone, Copy)]
struct Formula {
    clip: f32,
    keep: f32,
    beta1: f32,
    beta2: f32,
    step_size: f32,
    inv_root_correction: f32,
    ema: f32,
}

impl Formula {
    fn apply(self, piece: Piece) {
        let _timed = phase(Phase::Optimizer);
        let Piece { p, g, m, v, average } = piece;
        vectorize(
            #[inline(always)]
            || {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = self.clip * g;
                    *m += (1.0 - self.beta1) * (g - *m);
                    *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
                    let root = v.sqrt() * self.inv_root_correction + ADAM_EPS as f32;
                    *p = *p * self.keep - self.step_size * (*m / root);
                }
                if let Some(average) = average {
                    for (a, p) in average.iter_mut().zip(p.iter()) {
                        *a += (1.0 - self.ema) * (p - *a);
                    }
                }
            },
        );
    }
}
