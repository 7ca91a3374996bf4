//! Learning rate: linear warm-up, then cosine annealing to zero.

use crate::config::TrmConfig;
use std::f64::consts::PI;

/// Learning rate of step `step` (from 0) of `total` steps.
///
/// `lr (step + 1) / warmup` while warming up, then `lr (1 + cos(pi t)) / 2` with t from 0 towards 1.
///
/// # Source
/// <https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html>
pub fn learning_rate(config: &TrmConfig, step: u64, total: u64) -> f64 {
    let warmup = (config.warmup_steps as u64).min(total);
    if step < warmup {
        return config.lr * (step + 1) as f64 / warmup as f64;
    }
    let t = (step - warmup) as f64 / (total - warmup).max(1) as f64;
    config.lr * 0.5 * (1.0 + (PI * t.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_then_falls_along_the_cosine() {
        let config = TrmConfig { lr: 2.0, warmup_steps: 4, ..TrmConfig::default() };
        let rates: Vec<f64> = (0..=12).map(|step| learning_rate(&config, step, 12)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way: {}", rates[8]);
        assert!(rates[12].abs() < 1e-12 && rates[11] > 0.0);
    }

    #[test]
    fn without_warm_up_it_starts_at_the_top() {
        let config = TrmConfig { lr: 3.0, ..TrmConfig::default() };
        assert_eq!(learning_rate(&config, 0, 10), 3.0);
        assert_eq!(learning_rate(&config, 0, 1), 3.0);
    }
}
