//! What changes with the steps of a run: the learning rate (linear warm-up, then cosine annealing to zero) and the weights
//! of the penalties.

use crate::config::{ConstraintSchedule, TrainingConfig};
use std::f64::consts::PI;

/// The learning rate from step to step: a linear warm-up, then a cosine down to zero or no change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    lr: f64,
    warmup_steps: u64,
    falls: bool,
}

impl Schedule {
    /// Linear warm-up, then `lr (1 + cos(pi t)) / 2` with t from 0 towards 1 at the end of the run.
    ///
    /// # Source
    /// <https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html>
    pub fn cosine(lr: f64, warmup_steps: usize) -> Self {
        Self { lr, warmup_steps: warmup_steps as u64, falls: true }
    }

    /// Linear warm-up, then `lr`.
    pub fn constant(lr: f64, warmup_steps: u64) -> Self {
        Self { lr, warmup_steps, falls: false }
    }

    /// Learning rate after warm-up.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Learning rate of step `step` (from 0) of `total` steps.
    pub fn rate(&self, step: u64, total: u64) -> f64 {
        if !self.falls {
            return self.lr * self.warmed_up(step);
        }
        let warmup = self.warmup_steps.min(total);
        if step < warmup {
            return self.lr * (step + 1) as f64 / warmup as f64;
        }
        let t = (step - warmup) as f64 / (total - warmup).max(1) as f64;
        self.lr * 0.5 * (1.0 + (PI * t.min(1.0)).cos())
    }

    /// Share of its full value, from 0 to 1, at step `step` (from 0) of a learning rate that warms up and then stays
    /// constant.
    pub fn warmed_up(&self, step: u64) -> f64 {
        ((step + 1) as f64 / self.warmup_steps.max(1) as f64).min(1.0)
    }
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
        let schedule = Schedule::cosine(2.0, 4);
        let rates: Vec<f64> = (0..=12).map(|step| schedule.rate(step, 12)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way: {}", rates[8]);
        assert!(rates[12].abs() < 1e-12 && rates[11] > 0.0);
    }

    #[test]
    fn without_warm_up_it_starts_at_the_top() {
        let schedule = Schedule::cosine(3.0, 0);
        assert_eq!([schedule.rate(0, 10), schedule.rate(0, 1)], [3.0, 3.0]);
    }

    #[test]
    fn a_constant_rate_rises_and_stays() {
        let schedule = Schedule::constant(2.0, 4);
        assert_eq!([0, 1, 3, 4, 1000].map(|step| schedule.rate(step, 9)), [0.5, 1.0, 2.0, 2.0, 2.0]);
    }
}
