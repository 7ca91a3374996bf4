//! Training: optimiser, schedule, the run and its folder.

pub mod compare;
mod curriculum;
mod data;
mod documented;
mod draw;
mod folder;
pub mod history;
mod kind;
mod memory;
mod old_paper_runs;
pub mod optimizer;
mod paper;
mod places;
mod progress;
mod pruning;
mod regime;
mod resume;
mod run;
pub mod schedule;
mod trainer;
mod training;

pub use data::{LoadError, LoadNote, TrainingData, split_data};
pub use folder::{Claim, FolderError, RunFolder, RunKind};
pub use kind::{CarriedStates, Kind, Settings, StepContext, StepOutcome};
pub use memory::{MemoryNeed, bytes};
pub use progress::Progress;
pub use regime::{Draws, Halting, Length, Regime};
pub use run::{Ending, Observer, run};
pub use trainer::{Standing, StepReport, Trainer};
pub use training::{Silent, Training, TrainingError};

use crate::checkpoint::CheckpointError;
use crate::tensor::Spread;
use std::path::PathBuf;

/// Why a run did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Nothing to train on.
    #[error("there are no training puzzles; give --data FILE, or --set generate_samples=N to make some")]
    NoData,
    /// The loss or the gradient is no finite number.
    #[error("{}", divergence_report(*round, *step, [*loss, *grad_norm], gates.as_ref(), recent_norms))]
    Diverged {
        /// Round, from 1: an epoch, or the steps up to a validation.
        round: usize,
        /// Optimiser step, from 1, that was not made.
        step: u64,
        /// Mean loss of the step's batch.
        loss: f64,
        /// L2 norm of the step's gradient.
        grad_norm: f64,
        /// The gates alpha and beta as mean and range; nothing if the model has none.
        gates: Option<[Spread; 2]>,
        /// Gradient norms of the steps before, newest last.
        recent_norms: Vec<f64>,
    },
    /// The memory plan is larger than the memory there is.
    #[error("{0}")]
    OutOfMemory(String),
    /// A run cannot have its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A checkpoint that a run cannot go on from.
    #[error("cannot resume from this checkpoint: {0}")]
    NotResumable(String),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of the run folder could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

fn divergence_report(
    round: usize,
    step: u64,
    [loss, grad_norm]: [f64; 2],
    gates: Option<&[Spread; 2]>,
    recent: &[f64],
) -> String {
    let recent: Vec<String> = recent.iter().map(|norm| format!("{norm:.3e}")).collect();
    let recent = if recent.is_empty() { "none".to_string() } else { recent.join(", ") };
    let (gates, help) = match gates {
        Some([latent, output]) => (
            format!("\n  gates: latent {latent}, output {output}"),
            "gates nearer to 0 (--set gate_init=0.05), fewer cycles (--set L_cycles=4 H_cycles=2), a lower learning rate \
             (--set lr=3e-5) or a warm-up (--set warmup_steps=500)",
        ),
        None => (
            String::new(),
            "a lower learning rate (--set lr=3e-5) or a longer warm-up (--set warmup_steps=5000)",
        ),
    };
    format!(
        "training diverged in round {round} at step {step}: loss {loss}, gradient norm {grad_norm}{gates}\n  \
         gradient norms before: {recent}\n  \
         The checkpoints on disk are from before and stay as they are. What helps: {help}."
    )
}
