//! The record of each round, and `history.jsonl`: one record a line.

use crate::atomic_file::write_atomically;
use crate::tensor::Spread;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::{self, Write};
use std::path::Path;

/// The record of one round: an epoch, or the steps from one validation to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Epoch, from 1; nothing where a run counts steps alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// Optimiser steps made so far.
    pub step: u64,
    /// Mean cross-entropy of a cell over the epoch, dropout on.
    #[serde(deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// Share of the training cells predicted right, dropout on.
    #[serde(deserialize_with = "number_or_null")]
    pub train_cell_accuracy: f64,
    /// Share of the puzzles that left the batch with every cell right, where the model says when they leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_board_accuracy: Option<f64>,
    /// Mean number of segments of the puzzles that left the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<f64>,
    /// Mean cross-entropy of a validation cell.
    pub val_loss: Option<f64>,
    /// Share of the validation cells predicted right, givens included.
    pub val_cell_accuracy: Option<f64>,
    /// Share of the blank validation cells predicted right.
    pub val_blank_accuracy: Option<f64>,
    /// Share of the validation boards predicted right in every cell.
    pub val_board_accuracy: Option<f64>,
    /// Mean penalty of a training board for rows, columns and boxes, before any weight, dropout on.
    #[serde(default)]
    pub train_constraint_loss: Option<f64>,
    /// Mean penalty of a validation board.
    #[serde(default)]
    pub val_constraint_loss: Option<f64>,
    /// Mean number of cells of a predicted validation board whose digit stands again in a row, column or box.
    #[serde(default)]
    pub val_conflicts_per_board: Option<f64>,
    /// Stage of the curriculum at the end of the epoch, from 1, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<usize>,
    /// Share of right cells on the puzzles that this stage opened, if this share decides when the next stage opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_accuracy: Option<f64>,
    /// Learning rate of the last step.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub lr: f64,
    /// Mean norm of the gradients before clipping.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub grad_norm_mean: f64,
    /// Largest norm of a gradient before clipping.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub grad_norm_max: f64,
    /// The gate alpha, or the mean of its values if it is a vector; nothing if the model has no gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent_gate: Option<f64>,
    /// The gate beta, or the mean of its values if it is a vector; nothing if the model has no gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_gate: Option<f64>,
    /// The least and the largest value of alpha, if alpha is a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latent_gate_range: Option<[f64; 2]>,
    /// The least and the largest value of beta, if beta is a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_gate_range: Option<[f64; 2]>,
    /// Training puzzles a second.
    #[serde(default = "unknown", deserialize_with = "number_or_null")]
    pub samples_per_s: f64,
    /// Seconds of training so far, over all sittings.
    #[serde(deserialize_with = "number_or_null")]
    pub elapsed_s: f64,
    /// Best validation accuracy so far.
    pub is_best: bool,
}

impl Record {
    /// The gates alpha and beta as mean and range, if the model has gates.
    pub fn gates(&self) -> Option<[Spread; 2]> {
        let latent = Spread { mean: self.latent_gate?, range: self.latent_gate_range };
        Some([latent, Spread { mean: self.output_gate?, range: self.output_gate_range }])
    }
}

/// Writes all records; the old file stays until the new one is complete.
///
/// # Errors
/// What the system says.
pub fn write_jsonl(path: &Path, records: &[Record]) -> io::Result<()> {
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
pub fn read_jsonl(path: &Path) -> io::Result<Vec<Record>> {
    let text = std::fs::read_to_string(path)?;
    let record = |(number, line)| {
        serde_json::from_str(line).map_err(|e| io::Error::other(format!("line {}: {e}", number + 1)))
    };
    text.lines().enumerate().map(record).collect()
}

/// What records of earlier versions do not tell.
fn unknown() -> f64 {
    f64::NAN
}

/// JSON has no NaN: `serde_json` writes it as null.
fn number_or_null<'de, D: Deserializer<'de>>(value: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: usize) -> Record {
        Record {
            epoch: Some(epoch),
            step: 10 * epoch as u64,
            train_loss: 2.0 / 3.0,
            train_cell_accuracy: 0.1,
            train_board_accuracy: None,
            segments: None,
            val_loss: Some(1e-300),
            val_cell_accuracy: None,
            val_blank_accuracy: Some(0.7),
            val_board_accuracy: None,
            train_constraint_loss: Some(0.2),
            val_constraint_loss: None,
            val_conflicts_per_board: Some(12.5),
            stage: (epoch > 2).then_some(epoch),
            stage_accuracy: None,
            lr: 1e-4,
            grad_norm_mean: 0.3,
            grad_norm_max: 7e5,
            latent_gate: Some(-0.1),
            output_gate: Some(0.1),
            latent_gate_range: (epoch > 1).then_some([-0.3, 0.2]),
            output_gate_range: None,
            samples_per_s: 123.4,
            elapsed_s: 1e9,
            is_best: epoch == 2,
        }
    }

    #[test]
    fn records_written_are_records_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        for count in [4, 0, 1] {
            let records: Vec<_> = (1..=count).map(record).collect();
            write_jsonl(&path, &records).unwrap();
            assert_eq!(read_jsonl(&path).unwrap(), records);
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), count);
        }
    }

    #[test]
    fn records_of_runs_before_vector_gates_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let old = r#"{"epoch":1,"step":10,"train_loss":0.5,"train_cell_accuracy":0.1,"val_loss":null,"val_cell_accuracy":null,"val_blank_accuracy":null,"val_board_accuracy":null,"lr":0.0001,"grad_norm_mean":0.3,"grad_norm_max":1.0,"latent_gate":0.1,"output_gate":0.2,"samples_per_s":10.0,"elapsed_s":1.0,"is_best":true}"#;
        std::fs::write(&path, format!("{old}\n")).unwrap();
        let record = &read_jsonl(&path).unwrap()[0];
        assert_eq!(record.gates().unwrap().map(|gate| gate.to_string()), ["0.1", "0.2"]);
        // A record of a scalar gate is written as it always was.
        assert!(!serde_json::to_string(record).unwrap().contains("gate_range"));
    }

    #[test]
    fn a_loss_that_is_no_number_can_be_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        write_jsonl(&path, &[Record { train_loss: f64::NAN, val_loss: Some(f64::NAN), ..record(1) }])
            .unwrap();
        let back = read_jsonl(&path).unwrap();
        assert!(back[0].train_loss.is_nan());
        assert_eq!(back[0].val_loss, None);
    }

    #[test]
    fn a_line_that_is_no_record_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        write_jsonl(&path, &[record(1)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{}", &text[..40])).unwrap();
        let error = read_jsonl(&path).unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
