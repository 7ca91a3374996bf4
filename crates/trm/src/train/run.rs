//! A run from start to end: what is saved when, in the run folder.

use super::history::{self, EpochRecord};
use super::{StepReport, TrainError, Trainer};
use crate::atomic_file::write_atomically;
use crate::checkpoint::Checkpoint;
use crate::config::TrmConfig;
use crate::evaluate::Evaluation;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time after which a run saves itself in the middle of an epoch.
const SAVE_EVERY: Duration = Duration::from_secs(180);

/// A folder at `path`, made if it is missing, that files can be written to.
pub(super) fn writable_folder(path: &Path) -> Result<PathBuf, TrainError> {
    let io = |source| TrainError::Io { path: path.to_path_buf(), source };
    std::fs::create_dir_all(path).map_err(io)?;
    tempfile::tempfile_in(path).map_err(io)?;
    Ok(path.to_path_buf())
}

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

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The checkpoint with the best validation accuracy.
    pub fn best(&self) -> PathBuf {
        self.file("trm_sudoku_best.pt")
    }

    /// The newest checkpoint: what `--resume` goes on from.
    pub fn last(&self) -> PathBuf {
        self.file("trm_sudoku_last.pt")
    }

    /// The best weights and their configuration, nothing else.
    pub fn production(&self) -> PathBuf {
        self.file("trm_sudoku_production.pt")
    }

    fn save_last(&self, trainer: &Trainer) -> Result<(), TrainError> {
        trainer.checkpoint()?.write(&self.last())?;
        Ok(())
    }

    /// Writes the best and the production checkpoint: with averaged weights, if there is an average.
    fn save_best(&self, trainer: &Trainer) -> Result<(), TrainError> {
        let mut checkpoint = trainer.checkpoint()?;
        if let Some(average) = checkpoint.training.as_mut().and_then(|t| t.ema.take()) {
            checkpoint.model = average;
        }
        checkpoint.training = None;
        checkpoint.write(&self.best())?;
        Checkpoint { optimizer: None, history: None, ..checkpoint }.write(&self.production())?;
        Ok(())
    }

    fn save_history(&self, trainer: &Trainer) -> Result<(), TrainError> {
        let path = self.file("history.jsonl");
        history::write_jsonl(&path, &trainer.progress().history)
            .map_err(|source| TrainError::Io { path, source })
    }

    fn save_holdout(&self, holdout: &Evaluation) -> Result<(), TrainError> {
        let path = self.file("holdout.json");
        write_atomically(&path, |file| Ok(serde_json::to_writer(file, holdout)?))
            .map_err(|source| TrainError::Io { path, source })
    }

    fn save_config(&self, config: &TrmConfig) -> Result<(), TrainError> {
        let path = self.file("config.toml");
        write_atomically(&path, |file| file.write_all(config.to_toml().as_bytes()))
            .map_err(|source| TrainError::Io { path, source })
    }
}

/// What is told while a run goes on.
pub trait Observer {
    /// After every step.
    fn step(&mut self, trainer: &Trainer, report: &StepReport);
    /// After every epoch.
    fn epoch(&mut self, trainer: &Trainer, record: &EpochRecord);
    /// Whether the run should stop after the current step.
    fn wants_to_stop(&self) -> bool;
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// All epochs are done, or patience ran out; with the evaluation of the held-out rows by the best weights.
    Finished {
        /// Patience ran out.
        early: bool,
        /// Accuracy on the rows that were held out, if any.
        holdout: Option<Evaluation>,
    },
    /// It was asked to stop; everything is saved.
    Stopped,
}

/// Trains to the end, saving as it goes.
///
/// # Errors
/// Divergence, or a file that cannot be written. The checkpoints saved before stay as they are.
pub fn run(
    trainer: &mut Trainer,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Ending, TrainError> {
    folder.save_config(trainer.config())?;
    let mut saved = Instant::now();
    while !trainer.is_finished() {
        while !trainer.epoch_is_complete() {
            if observer.wants_to_stop() {
                folder.save_last(trainer)?;
                return Ok(Ending::Stopped);
            }
            let report = trainer.step()?;
            observer.step(trainer, &report);
            if saved.elapsed() >= SAVE_EVERY && !trainer.epoch_is_complete() {
                folder.save_last(trainer)?;
                saved = Instant::now();
            }
        }
        let record = trainer.finish_epoch();
        if record.is_best {
            folder.save_best(trainer)?;
        }
        folder.save_last(trainer)?;
        folder.save_history(trainer)?;
        saved = Instant::now();
        observer.epoch(trainer, &record);
    }
    let best = Checkpoint::read(&folder.production())?;
    let holdout = trainer.evaluate_holdout(best);
    if let Some(holdout) = &holdout {
        folder.save_holdout(holdout)?;
    }
    Ok(Ending::Finished { early: trainer.has_stopped_early(), holdout })
}
