//! A run from start to end: what is saved when, in the run folder.

use super::{Record, StepReport, Trainer};
use crate::atomic_file::write_atomically;
use crate::checkpoint::{CheckpointError, PaperCheckpoint};
use crate::evaluate::Evaluation;
use crate::train::TrainError;
use crate::train::run::writable_folder;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time after which a run saves itself between two validations.
const SAVE_EVERY: Duration = Duration::from_secs(180);

/// The files of a run.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run folder at `path`; made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        writable_folder(path).map(Self)
    }

    /// The newest checkpoint in a folder: what `--resume` goes on from.
    pub fn last_in(path: &Path) -> PathBuf {
        path.join("trm_paper_last.safetensors")
    }

    /// The averaged weights that were best in validation, with the model's settings.
    pub fn production(&self) -> PathBuf {
        self.0.join("trm_paper_production.safetensors")
    }

    fn save_last(&self, trainer: &Trainer) -> Result<(), TrainError> {
        Ok(trainer.checkpoint()?.write(&Self::last_in(&self.0))?)
    }

    fn save_text(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let path = self.0.join(name);
        write_atomically(&path, |file| file.write_all(text.as_bytes()))
            .map_err(|source| TrainError::Io { path, source })
    }

    fn save_history(&self, trainer: &Trainer) -> Result<(), TrainError> {
        let line = |record: &Record| serde_json::to_string(record).expect("a record is JSON") + "\n";
        self.save_text("history.jsonl", &trainer.records().iter().map(line).collect::<String>())
    }
}

/// What is told while a run goes on.
pub trait Observer {
    /// After every step.
    fn step(&mut self, trainer: &Trainer, report: &StepReport);
    /// After every validation.
    fn validation(&mut self, trainer: &Trainer, record: &Record);
    /// Whether the run should stop after the current step.
    fn wants_to_stop(&self) -> bool;
}

/// Trains to the end, saving as it goes; `None` if it was asked to stop, with everything saved, else the evaluation of
/// the held-out rows, if any, by the best weights.
///
/// # Errors
/// Divergence, or a file that cannot be written. The checkpoints saved before stay as they are.
pub fn run(
    trainer: &mut Trainer,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Option<Option<Evaluation>>, TrainError> {
    folder.save_text("config.toml", &trainer.settings().to_toml())?;
    let mut saved = Instant::now();
    while !trainer.is_finished() {
        if observer.wants_to_stop() {
            folder.save_last(trainer)?;
            return Ok(None);
        }
        let report = trainer.step()?;
        observer.step(trainer, &report);
        let validated = trainer.is_to_be_validated();
        if validated {
            let record = trainer.validate();
            if record.is_best {
                trainer.production().write(&folder.production())?;
            }
            folder.save_history(trainer)?;
            observer.validation(trainer, &record);
        }
        if validated || saved.elapsed() >= SAVE_EVERY {
            folder.save_last(trainer)?;
            saved = Instant::now();
        }
    }
    let path = folder.production();
    let missing =
        || CheckpointError::Format { path: path.clone(), reason: "it is no model of the paper".into() };
    let best = PaperCheckpoint::read(&path, &[])?.ok_or_else(missing)?;
    Ok(Some(trainer.evaluate_holdout(best)))
}
