//! What a checkpoint holds of a run, and the run that goes on from it.

use super::kind::{CarriedStates, Kind, Settings};
use super::old_paper_runs::OldProgress;
use super::optimizer::AdamW;
use super::places::Place;
use super::{Progress, TrainError, Trainer, TrainingData};
use crate::checkpoint::{ADAM_EPS, Checkpoint, Losses, OptimizerState, Stored, Training};
use crate::network::Weights;
use crate::parallel::Threads;
use crate::tensor::StateDict;

impl Progress {
    /// Where the run of a checkpoint is.
    ///
    /// # Errors
    /// A text that is no record of a run.
    fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        match serde_json::from_str::<OldProgress>(text) {
            Ok(old) => Ok(old.into()),
            Err(_) => serde_json::from_str(text),
        }
    }
}

impl<K: Kind> Trainer<K> {
    /// Goes on with the run that wrote `checkpoint`.
    ///
    /// # Errors
    /// [`TrainError::NotResumable`] if the file holds no optimiser and progress, or they do not belong together, or the run saw
    /// other data; [`TrainError::NoData`].
    pub fn resume(
        checkpoint: &Checkpoint<K::Settings>,
        data: TrainingData,
        threads: Threads,
    ) -> Result<Self, TrainError> {
        let wrong = |what: String| TrainError::NotResumable(what);
        let settings = checkpoint.config.clone();
        let (Some(optimizer), Some(training)) = (&checkpoint.optimizer, &checkpoint.training) else {
            return Err(wrong("it holds no optimiser state: a production file".into()));
        };
        let progress = Progress::from_json(&training.state_json).map_err(|e| wrong(e.to_string()))?;
        if progress.data_sizes != data.sizes() {
            return Err(wrong(format!(
                "it was trained on {:?} puzzles (training, validation, held out), but the data has {:?} now",
                progress.data_sizes,
                data.sizes()
            )));
        }
        let layout = settings.layout();
        let read = |state: &StateDict| Weights::from_state_dict(&layout, state.clone());
        let optimizer = AdamW {
            step: optimizer.step,
            exp_avg: read(&optimizer.exp_avg),
            exp_avg_sq: read(&optimizer.exp_avg_sq),
        };
        let average = training.ema.as_ref().map(read);
        if average.is_some() != settings.regime().has_average {
            return Err(wrong("its weight average does not fit its setting `ema`".into()));
        }
        let weights = read(&checkpoint.model);
        let run = (settings, data, threads);
        let mut trainer = Self::assemble(run, (weights, optimizer, average), progress)?;
        let puzzles = trainer.progress.staying.len();
        let states = K::States::from_state_dict(&trainer.model, puzzles, training.carry.as_ref());
        let unfit = || wrong("its carried states do not fit the puzzles in its batch".into());
        trainer.batch.states = states.ok_or_else(unfit)?;
        for (i, (number, segments)) in trainer.progress.staying.clone().into_iter().enumerate() {
            let leaves = trainer.progress.leaving.get(i).copied().unwrap_or(false);
            let puzzle = trainer.puzzle(number);
            trainer.batch.puzzles.push(puzzle);
            trainer.batch.places.push(Place { number, segments, leaves });
        }
        Ok(trainer)
    }

    /// Everything that [`Self::resume`] needs.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if a weight is not finite: such a file must not replace a good one.
    pub fn checkpoint(&self) -> Result<Checkpoint<K::Settings>, TrainError> {
        if !self.model.weights().is_finite() {
            return Err(self.divergence(f64::NAN, f64::NAN));
        }
        let state_json = serde_json::to_string(&self.progress()).expect("numbers and lists are JSON");
        let (history, rules) = (&self.progress.history, &self.regime.rules);
        Ok(Checkpoint {
            model: self.model.weights().state_dict(),
            config: self.settings.clone(),
            optimizer: Some(OptimizerState {
                step: self.optimizer.step,
                exp_avg: self.optimizer.exp_avg.state_dict(),
                exp_avg_sq: self.optimizer.exp_avg_sq.state_dict(),
                lr: history.last().map_or(self.regime.schedule.lr(), |record| record.lr),
                betas: rules.betas,
                eps: ADAM_EPS,
                weight_decay: rules.weight_decay,
            }),
            history: Some(Losses {
                train_losses: history.iter().map(|r| r.train_loss).collect(),
                val_losses: history.iter().filter_map(|r| r.val_loss).collect(),
                val_accuracies: history.iter().filter_map(|r| r.val_cell_accuracy).collect(),
            }),
            training: Some(Training {
                state_json,
                ema: self.average.as_ref().map(Weights::state_dict),
                carry: self.batch.states.to_state_dict(&self.model),
            }),
        })
    }

    /// The weights that are validated and shipped, and the settings; with `optimizer` the moments and the losses too.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if a weight is not finite.
    pub fn best_checkpoint(&self, with_optimizer: bool) -> Result<Checkpoint<K::Settings>, TrainError> {
        let mut checkpoint = self.checkpoint()?;
        if let Some(average) = checkpoint.training.take().and_then(|training| training.ema) {
            checkpoint.model = average;
        }
        if !with_optimizer {
            (checkpoint.optimizer, checkpoint.history) = (None, None);
        }
        Ok(checkpoint)
    }
}
