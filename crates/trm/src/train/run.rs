//! A run from start to end: what is saved when, in the run folder.

use super::folder::{CONFIG, HISTORY, HOLDOUT, RunFolder};
use super::history::{self, Record};
use super::kind::Kind;
use super::trainer::Standing;
use super::{StepReport, TrainError, Trainer};
use crate::checkpoint::{Checkpoint, Stored};
use crate::evaluate::Evaluation;
use std::time::{Duration, Instant};

/// Time after which a run saves itself in the middle of a round.
const SAVE_EVERY: Duration = Duration::from_secs(180);

impl RunFolder {
    fn save_last<K: Kind>(&self, trainer: &Trainer<K>) -> Result<(), TrainError> {
        Ok(trainer.checkpoint()?.write(&self.last())?)
    }

    /// Writes the model for production, and the checkpoint that was best in validation where this kind of run keeps one; both with
    /// averaged weights, if there is an average.
    fn save_best<K: Kind>(&self, trainer: &Trainer<K>) -> Result<(), TrainError> {
        if let Some(best) = self.best() {
            trainer.best_checkpoint(true)?.write(&best)?;
        }
        Ok(trainer.best_checkpoint(false)?.write(&self.production())?)
    }

    fn save_history(&self, records: &[Record]) -> Result<(), TrainError> {
        let path = self.file(HISTORY);
        history::write_jsonl(&path, records).map_err(|source| TrainError::Io { path, source })
    }

    /// Writes how well the best weights do on the rows that were held out.
    fn save_holdout(&self, holdout: &Evaluation) -> Result<(), TrainError> {
        self.save_text(HOLDOUT, &serde_json::to_string(holdout).expect("an evaluation is JSON"))
    }
}

/// Callbacks of a run: what it reports while it goes on.
pub trait Observer {
    /// After every step.
    fn step(&mut self, run: Standing<'_>, report: &StepReport);
    /// After every round: an epoch, or the steps up to a validation.
    fn round(&mut self, run: Standing<'_>, record: &Record);
    /// Whether the run should stop after the current step.
    fn wants_to_stop(&self) -> bool;
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// All rounds are done, or patience ran out; with the evaluation of the held-out rows by the best weights.
    Finished {
        /// Patience ran out.
        early: bool,
        /// Accuracy on the rows that were held out, if any.
        holdout: Option<Evaluation>,
    },
    /// The run was asked to stop; everything is saved.
    Stopped,
}

/// Trains to the end, saving as it goes.
///
/// # Errors
/// Divergence, a file that cannot be written, or a folder that was claimed for another kind of run. The checkpoints saved before stay
/// as they are.
pub fn run<K: Kind>(
    trainer: &mut Trainer<K>,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Ending, TrainError> {
    folder.begin(K::FOLDER)?;
    folder.save_text(CONFIG, &trainer.settings().to_toml())?;
    let mut saved = Instant::now();
    while !trainer.is_finished() {
        while !trainer.round_is_complete() {
            if observer.wants_to_stop() {
                folder.save_last(trainer)?;
                return Ok(Ending::Stopped);
            }
            let report = trainer.step()?;
            observer.step(trainer.standing(), &report);
            if saved.elapsed() >= SAVE_EVERY && !trainer.round_is_complete() {
                folder.save_last(trainer)?;
                saved = Instant::now();
            }
        }
        let record = trainer.finish_round();
        if record.is_best {
            folder.save_best(trainer)?;
        }
        folder.save_last(trainer)?;
        folder.save_history(&trainer.progress().history)?;
        saved = Instant::now();
        observer.round(trainer.standing(), &record);
    }
    let best: Checkpoint<K::Settings> = Checkpoint::read_stored(&folder.production())?;
    let best = K::of_checkpoint(best, trainer.threads());
    let holdout = trainer.evaluate_holdout(&best);
    if let Some(holdout) = &holdout {
        folder.save_holdout(holdout)?;
    }
    Ok(Ending::Finished { early: trainer.has_stopped_early(), holdout })
}
