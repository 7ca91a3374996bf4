//! What changes with the steps of a run: the learning rate (linear warm-up, then cosine annealing to zero) and the weights
//! of the penalties.

use crate::config::{ConstraintSchedule, TrainingConfig};
use std::f64::consts::PI;

/// Learning rate of step `step` (from 0) of `total` steps.
///
/// `lr (step + 1) / warmup` while warming up, then `lr (1 + cos(pi t)) / 2` with t from 0 towards 1.
///
/// # Source
/// <https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html>
pub fn learning_rate(config: &TrainingConfig, step: u64, total: u64) -> f64 {
    let warmup = (config.warmup_steps as u64).min(total);
    if step < warmup {
        return config.lr * (step + 1) as f64 / warmup as f64;
    }
    let t = (step - warmup) as f64 / (total - warmup).max(1) as f64;
    config.lr * 0.5 * (1.0 + (PI * t.min(1.0)).cos())
}

/// Weights of the penalties for rows, columns and boxes at step `step` (from 0) of `total` steps.
///
/// `constraint_weight`, times `(step + 1) / total` with the linear schedule, for the kinds that are switched on.
pub fn constraint_weights(config: &TrainingConfig, step: u64, total: u64) -> [f32; 3] {
    let share = match config.constraint_schedule {
        ConstraintSchedule::Constant => 1.0,
        ConstraintSchedule::Linear => ((step + 1) as f64 / total.max(1) as f64).min(1.0),
    };
    config.constrains().map(|on| if on { (share * config.constraint_weight) as f32 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_are_constant_or_grow_to_their_weight_for_the_kinds_asked_for() {
        let config = TrainingConfig { constraint_weight: 2.0, ..TrainingConfig::default() };
        assert_eq!(constraint_weights(&config, 0, 8), [2.0; 3]);
        let schedule = ConstraintSchedule::Linear;
        let boxes =
            TrainingConfig { constraint_kinds: "box, row".into(), constraint_schedule: schedule, ..config };
        let weights = [0, 3, 7, 9].map(|step| constraint_weights(&boxes, step, 8));
        assert_eq!(weights.map(|[row, _, boxes]| [row, boxes]), [[0.25; 2], [1.0; 2], [2.0; 2], [2.0; 2]]);
        assert!(weights.iter().all(|[_, column, _]| *column == 0.0));
        assert_eq!(constraint_weights(&TrainingConfig::default(), 5, 8), [0.0; 3]);
    }

    #[test]
    fn it_rises_then_falls_along_the_cosine() {
        let config = TrainingConfig { lr: 2.0, warmup_steps: 4, ..TrainingConfig::default() };
        let rates: Vec<f64> = (0..=12).map(|step| learning_rate(&config, step, 12)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way: {}", rates[8]);
        assert!(rates[12].abs() < 1e-12 && rates[11] > 0.0);
    }

    #[test]
    fn without_warm_up_it_starts_at_the_top() {
        let config = TrainingConfig { lr: 3.0, ..TrainingConfig::default() };
        assert_eq!(learning_rate(&config, 0, 10), 3.0);
        assert_eq!(learning_rate(&config, 0, 1), 3.0);
    }
}
