//! Where the time of a training step goes.

use super::{BenchError, Measured, step, trainer};
use crate::parallel::Threads;
use crate::timing::{Phase, profile};
use serde::Serialize;
use std::time::Instant;

/// Shares of the time that all threads have.
#[derive(Clone, Debug, Serialize)]
pub struct PhaseShares {
    /// Puzzles of a step.
    pub batch_size: usize,
    /// The phases that took time, by name, with their share of the whole. The last entry is the time outside of every
    /// phase, such as waiting for the slowest thread.
    pub shares: Vec<(&'static str, f64)>,
}

/// Times the phases of some training steps in batches of so many.
pub fn phase_shares<S: Measured>(
    settings: &S,
    batch_size: usize,
    threads: &Threads,
    seconds: f64,
) -> Result<PhaseShares, BenchError> {
    let mut trainer = trainer(settings, batch_size, threads.count())?;
    let (result, phases) = profile(|| {
        let (begin, mut steps) = (Instant::now(), 0);
        while steps < 2 || begin.elapsed().as_secs_f64() < seconds {
            step(&mut trainer)?;
            steps += 1;
        }
        Ok::<f64, BenchError>(begin.elapsed().as_secs_f64() * threads.count() as f64)
    });
    let all = result?;
    let counted: f64 = phases.iter().sum();
    let shares = Phase::ALL.iter().zip(phases).map(|(phase, seconds)| (phase.name(), seconds / all));
    let rest = ("waiting, and the rest", (1.0 - counted / all).max(0.0));
    let shares = shares.filter(|(_, share)| *share > 0.0).chain([rest]).collect();
    Ok(PhaseShares { batch_size, shares })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NetworkConfig, TrmConfig};

    #[test]
    fn shares_are_of_all_the_time() {
        let config = TrmConfig {
            network: NetworkConfig { hidden_dim: 32, l_cycles: 2, ..NetworkConfig::default() },
            ..TrmConfig::default()
        };
        let shares = phase_shares(&config, 40, &Threads::new(2), 0.0).unwrap().shares;
        let of = |name: &str| shares.iter().find(|(n, _)| *n == name).unwrap().1;
        assert!(of("forward products") > 0.0 && of("weight gradients") > 0.0 && of("optimiser") > 0.0);
        assert!(shares.iter().all(|(name, _)| *name != "attention"), "{shares:?}");
    }
}
