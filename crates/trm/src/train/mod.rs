//! Training: optimiser, schedule, the run and its folder.

mod batch;
pub mod compare;
mod curriculum;
mod data;
mod draw;
pub mod history;
mod memory;
pub mod optimizer;
pub mod paper;
mod progress;
mod pruning;
mod resume;
mod run;
pub mod schedule;
mod trainer;

pub use data::{LoadError, LoadNote, TrainingData, split_data};
pub use memory::{MemoryNeed, bytes};
pub use progress::Progress;
pub use run::{Ending, Observer, RunFolder, run};
pub use trainer::{StepReport, Trainer};

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
    #[error("{}", divergence_report(*epoch, *step, *loss, *grad_norm, gates, recent_norms))]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Optimiser step, from 1, that was not made.
        step: u64,
        /// Mean cross-entropy of its batch.
        loss: f64,
        /// Norm of its gradient.
        grad_norm: f64,
        /// alpha and beta
        gates: [Spread; 2],
        /// Norms of the steps before, newest last.
        recent_norms: Vec<f64>,
    },
    /// The loss or a weight of the paper's model is no finite number.
    #[error(
        "training diverged at step {step}: loss {loss}. The checkpoints on disk are from before and stay as they are. What \
         helps: a lower learning rate (--set lr=3e-5) or a longer warm-up (--set warmup_steps=5000)."
    )]
    NotFinite {
        /// Optimiser step, from 1, that was not made or that made it so.
        step: u64,
        /// Loss of its batch.
        loss: f64,
    },
    /// The memory plan is larger than the memory there is.
    #[error("{0}")]
    OutOfMemory(String),
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
        /// What the system said.
        source: std::io::Error,
    },
}

fn divergence_report(
    epoch: usize,
    step: u64,
    loss: f64,
    grad_norm: f64,
    [latent_gate, output_gate]: &[Spread; 2],
    recent: &[f64],
) -> String {
    let recent: Vec<String> = recent.iter().map(|norm| format!("{norm:.3e}")).collect();
    format!(
        "training diverged in epoch {epoch} at step {step}: loss {loss}, gradient norm {grad_norm}\n  \
         gates: latent {latent_gate}, output {output_gate}\n  \
         gradient norms before: {}\n  \
         The checkpoints on disk are from before and stay as they are. What helps: gates nearer to 0 \
         (--set gate_init=0.05), fewer cycles (--set L_cycles=4 H_cycles=2), a lower learning rate \
         (--set lr=3e-5) or a warm-up (--set warmup_steps=500).",
        if recent.is_empty() { "none".to_string() } else { recent.join(", ") }
    )
}
