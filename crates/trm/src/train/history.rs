//! The record of each epoch, and `history.jsonl`: one record a line.

use crate::atomic_file::write_atomically;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

/// What one epoch did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimiser steps made so far.
    pub step: u64,
    /// Mean cross-entropy of a cell over the epoch, dropout on.
    pub train_loss: f64,
    /// Share of the training cells predicted right, dropout on.
    pub train_cell_accuracy: f64,
    /// Mean cross-entropy of a validation cell.
    pub val_loss: Option<f64>,
    /// Share of the validation cells predicted right, givens included.
    pub val_cell_accuracy: Option<f64>,
    /// Share of the blank validation cells predicted right.
    pub val_blank_accuracy: Option<f64>,
    /// Share of the validation boards predicted right in every cell.
    pub val_board_accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean norm of the gradients before clipping.
    pub grad_norm_mean: f64,
    /// Largest of these norms.
    pub grad_norm_max: f64,
    /// alpha
    pub latent_gate: f64,
    /// beta
    pub output_gate: f64,
    /// Training puzzles a second.
    pub samples_per_s: f64,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: f64,
    /// Best validation accuracy so far.
    pub is_best: bool,
}

/// Writes all records; the old file stays until the new one is complete.
///
/// # Errors
/// What the system says.
pub fn write_jsonl(path: &Path, records: &[EpochRecord]) -> io::Result<()> {
    write_atomically(path, |file| {
        for record in records {
            serde_json::to_writer(&mut *file, record)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// Reads a file that [`write_jsonl`] wrote.
///
/// # Errors
/// An unreadable file, or a line that is no record.
pub fn read_jsonl(path: &Path) -> io::Result<Vec<EpochRecord>> {
    std::fs::read_to_string(path)?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
