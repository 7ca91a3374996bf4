//! Whether a run fits into the memory there is.

use super::TrainError;
use crate::config::{CheckpointActivations, TrmConfig};
use crate::model::MemoryPlan;

/// The memory that a run takes, and the settings that make it take less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Bytes in all.
    pub total: u64,
    /// Bytes of `total` that activations take, for models that count them apart.
    pub activations: Option<u64>,
    /// Bytes in all if activations were computed again cycle by cycle; nothing if the run does so already or cannot.
    pub with_cycle_checkpoints: Option<u64>,
    /// Names of the settings whose smaller values take less memory.
    pub smaller: &'static str,
}

impl MemoryNeed {
    /// The memory that a run under `config` takes on `threads` worker threads.
    pub fn of(config: &TrmConfig, threads: usize) -> Self {
        let plan = MemoryPlan::for_training(config, threads);
        let keeps_all = config.run.checkpoint_activations == CheckpointActivations::None;
        Self {
            total: plan.total(),
            activations: Some(plan.activations()),
            with_cycle_checkpoints: keeps_all
                .then(|| MemoryPlan::with_cycle_checkpoints(config, threads).total()),
            smaller: "hidden_dim, batch_size or fewer cycles",
        }
    }

    /// Whether the run fits into `available` bytes.
    ///
    /// # Errors
    /// [`TrainError::OutOfMemory`] with the numbers and a way out if it does not.
    pub fn check(&self, available: u64) -> Result<(), TrainError> {
        if self.total <= available {
            return Ok(());
        }
        let activations =
            self.activations.map_or(String::new(), |b| format!(" ({} for activations)", bytes(b)));
        let way_out = match self.with_cycle_checkpoints.filter(|total| *total <= available) {
            Some(total) => {
                format!(
                    "--set checkpoint_activations=cycle needs {} and gives the same weights",
                    bytes(total)
                )
            }
            None => format!("a smaller {}", self.smaller),
        };
        Err(TrainError::OutOfMemory(format!(
            "this run needs {} of memory{activations}, but {} are available. What helps: {way_out}",
            bytes(self.total),
            bytes(available)
        )))
    }
}

/// Bytes with a unit a person reads: `1.5 kB`, `20 MB`, `3.25 GB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.0} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_does_not_fit_is_refused_with_what_would_help() {
        let mut config = TrmConfig::default();
        let need = MemoryNeed::of(&config, 2);
        assert_eq!(need.total, MemoryPlan::for_training(&config, 2).total());
        assert!(need.check(need.total).is_ok());
        let error = |need: &MemoryNeed, available| need.check(available).unwrap_err().to_string();
        let cycles = need.with_cycle_checkpoints.unwrap();
        assert!(cycles < need.total);
        let text = error(&need, need.total - 1);
        assert!(text.contains("checkpoint_activations=cycle") && text.contains(&bytes(cycles)), "{text}");
        assert!(error(&need, cycles - 1).ends_with("a smaller hidden_dim, batch_size or fewer cycles"));
        config.run.checkpoint_activations = CheckpointActivations::Cycle;
        let need = MemoryNeed::of(&config, 2);
        assert_eq!((need.total, need.with_cycle_checkpoints), (cycles, None));
        assert!(error(&need, 1000).contains("1.0 kB are available"));
    }
}
