//! Gradual pruning: the sparsity rises while the other weights learn to do without.
//!
//! There is no state but the weights: one that is zero stays zero. So a run that was interrupted goes on bit for bit, and a
//! model that was pruned before stays pruned.
//!
//! # Source
//! Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", arXiv 1710.01878

use crate::config::Pruning;
use crate::network::Weights;
use crate::tensor::Tensor;

/// Share of the run after which the sparsity is reached; the rest is for the weights that are left.
const RISE: f64 = 0.75;
/// Times that weights are cleared on the way.
const EVENTS: u64 = 200;

/// The step after which nothing more is cleared.
fn last_event(total_steps: u64) -> u64 {
    ((RISE * total_steps as f64).ceil() as u64).max(1)
}

/// Whether the model has its final sparsity after `step` steps, so that its accuracy counts.
pub fn is_complete(kind: Pruning, step: u64, total_steps: u64) -> bool {
    kind == Pruning::None || step >= last_event(total_steps)
}

/// The sparsity that is due after update number `step`, counted from 1; nothing if no weights are cleared after this
/// step.
pub fn due((kind, sparsity): (Pruning, f64), [step, total_steps]: [u64; 2]) -> Option<f64> {
    let (last, every) = (last_event(total_steps), (total_steps / EVENTS).max(1));
    let is_event = step == last || step < last && step.is_multiple_of(every);
    (kind != Pruning::None && is_event).then(|| rising(sparsity, step, total_steps))
}

/// `s (1 - (1 - t)^3)`, where t goes from 0 to 1.
fn rising(sparsity: f64, step: u64, total_steps: u64) -> f64 {
    let left = 1.0 - step as f64 / last_event(total_steps) as f64;
    sparsity * (1.0 - left.max(0.0).powi(3))
}

fn pruned_matrices(weights: &mut Weights) -> impl Iterator<Item = &mut Tensor> {
    weights.iter_mut().filter(|(entry, _)| entry.role.is_pruned()).map(|(_, tensor)| tensor)
}

/// Which weights were zero before an update.
pub struct Pruned(Vec<Vec<bool>>);

impl Pruned {
    /// Looks at the weights, if the run prunes.
    pub fn of(kind: Pruning, weights: &mut Weights) -> Self {
        if kind == Pruning::None {
            return Self(Vec::new());
        }
        let zeros = |data: &[f32]| data.iter().map(|w| *w == 0.0).collect();
        Self(pruned_matrices(weights).map(|matrix| zeros(&matrix.data)).collect())
    }

    /// Clears the weights that were zero before the update.
    pub fn clear(self, weights: &mut Weights) {
        for (matrix, zeros) in pruned_matrices(weights).zip(&self.0) {
            matrix.data.iter_mut().zip(zeros).filter(|(_, zero)| **zero).for_each(|(w, _)| *w = 0.0);
        }
    }
}

/// Clears the averages of the weights that are zero, if the run prunes.
pub fn clear_average(kind: Pruning, weights: &mut Weights, average: Option<&mut Weights>) {
    let Some(average) = average.filter(|_| kind != Pruning::None) else { return };
    for (matrix, average) in pruned_matrices(weights).zip(pruned_matrices(average)) {
        let pairs = average.data.iter_mut().zip(&matrix.data);
        pairs.filter(|(_, w)| **w == 0.0).for_each(|(a, _)| *a = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparsity_rises_fast_first_and_ends_where_it_should() {
        let of = |step| rising(0.8, step, 1000);
        assert_eq!([of(0), of(750), of(1000)], [0.0, 0.8, 0.8]);
        assert!(of(250) > 0.5 && (1..=750).all(|step| of(step) > of(step - 1)));
        let kind = Pruning::Unstructured;
        assert!(!is_complete(kind, 749, 1000) && is_complete(kind, 750, 1000));
        assert_eq!(due((kind, 0.8), [750, 1000]), Some(0.8));
        assert_eq!([due((kind, 0.8), [751, 1000]), due((Pruning::None, 0.8), [750, 1000])], [None; 2]);
    }
}
