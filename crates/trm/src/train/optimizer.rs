//! AdamW with global-norm clipping and an optional moving average of the weights.

use crate::checkpoint::ADAM_EPS;
use crate::network::{Role, Weights};
use crate::parallel::Threads;
use crate::timing::{Phase, phase};
use trm_kernels::{math, vectorize};

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

/// The factor by which gradients are multiplied so that their norm is at most `clip_norm`; PyTorch's formula.
pub fn clip_factor(norm: f64, clip_norm: f64) -> f64 {
    (clip_norm / (norm + 1e-6)).min(1.0)
}

impl AdamW {
    /// Zero moments for these weights.
    pub fn new(weights: &Weights) -> Self {
        let zeros = || Weights::zeros(weights.layout());
        Self { step: 0, exp_avg: zeros(), exp_avg_sq: zeros() }
    }

    /// One update of `weights`, and of their average if there is one.
    ///
    /// `g <- clip g; p <- p - lr wd p; m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
    /// p <- p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps); average <- decay average + (1 - decay) p`
    ///
    /// First states stay as they are, and so does their average.
    pub fn update(
        &mut self,
        rules: &Rules,
        size: StepSize,
        [weights, grads]: [&mut Weights; 2],
        average: Option<&mut Weights>,
        threads: &Threads,
    ) {
        self.step += 1;
        let formula = Formula::new(rules, size, self.step);
        let keep_decayed = (1.0 - size.lr * rules.weight_decay) as f32;
        let mut averages = average.map(|average| average.tensors_mut().iter_mut());
        let moments = self.exp_avg.tensors_mut().iter_mut().zip(self.exp_avg_sq.tensors_mut());
        let mut work = Vec::new();
        for (((entry, p), g), (m, v)) in weights.iter_mut().zip(grads.tensors()).zip(moments) {
            let average = averages.as_mut().and_then(Iterator::next).map(|average| &mut average.data[..]);
            match (entry.role, rules.signed) {
                (Role::FirstState, _) => {}
                (Role::PuzzleEmbedding, Some(rule)) => {
                    rule.update(size.share, &mut p.data, &g.data);
                    average.into_iter().for_each(|average| average.copy_from_slice(&p.data));
                }
                (role, _) => {
                    let keep = if rules.decay.applies(role) { keep_decayed } else { 1.0 };
                    let values = [&mut p.data[..], &mut m.data, &mut v.data];
                    pieces(Formula { keep, ..formula }, values, &g.data, average, &mut work);
                }
            }
        }
        threads.for_each(work, |(formula, piece): (Formula, Piece)| formula.apply(piece));
    }
}

/// The rules by which weights move in every step.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Decay rates of the moments.
    pub betas: (f64, f64),
    /// Weight decay of the tensors that decay.
    pub weight_decay: f64,
    /// The tensors that weight decay applies to.
    pub decay: Decay,
    /// How the puzzle embedding moves, if not by AdamW.
    pub signed: Option<SignRule>,
    /// Decay rate of the averaged weights.
    pub average: f64,
}

/// The tensors that weight decay applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// Matrices and looked-up vectors, as [`Role::is_decayed`] says.
    Matrices,
    /// Every tensor.
    Everything,
}

impl Decay {
    fn applies(self, role: Role) -> bool {
        self == Self::Everything || role.is_decayed()
    }
}

/// Sign descent with weight decay: `p <- (1 - lr wd) p - lr sign(g)`.
#[derive(Clone, Copy, Debug)]
pub struct SignRule {
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How many of the first values move.
    pub values: usize,
}

impl SignRule {
    fn update(self, share: f64, values: &mut [f32], gradient: &[f32]) {
        let lr = self.lr * share;
        let keep = (1.0 - lr * self.weight_decay) as f32;
        let sign = |g: f32| if g == 0.0 { 0.0 } else { g.signum() };
        for (value, g) in values.iter_mut().zip(gradient).take(self.values) {
            *value = keep * *value - lr as f32 * sign(*g);
        }
    }
}

/// How large one step is.
#[derive(Clone, Copy, Debug)]
pub struct StepSize {
    /// Learning rate of AdamW.
    pub lr: f64,
    /// Share of the learning rate of the sign rule.
    pub share: f64,
    /// Factor by which gradients are multiplied before AdamW sees them.
    pub clip: f64,
}

/// Cuts a tensor, the values and both moments, into pieces of work.
fn pieces<'a>(
    formula: Formula,
    [values, m, v]: [&'a mut [f32]; 3],
    gradient: &'a [f32],
    average: Option<&'a mut [f32]>,
    work: &mut Vec<(Formula, Piece<'a>)>,
) {
    let mut average = average.map(|average| average.chunks_mut(PIECE));
    let values = values.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
    let moments = m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE));
    for ((p, g), (m, v)) in values.zip(moments) {
        let average = average.as_mut().and_then(Iterator::next);
        work.push((formula, Piece { p, g, m, v, average }));
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
    /// The formula of update number `step`, from 1, for tensors that do not decay.
    fn new(rules: &Rules, size: StepSize, step: u64) -> Self {
        let (t, (beta1, beta2)) = (step as f64, rules.betas);
        Self {
            clip: size.clip as f32,
            keep: 1.0,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            step_size: (size.lr / (1.0 - beta1.powf(t))) as f32,
            inv_root_correction: (1.0 / (1.0 - beta2.powf(t)).sqrt()) as f32,
            ema: rules.average as f32,
        }
    }

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
