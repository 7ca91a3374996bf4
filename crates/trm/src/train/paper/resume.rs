//! What a checkpoint holds of a run of the paper's model, and the run that goes on from it.

use super::progress::Progress;
use super::{Settings, Trainer};
use crate::checkpoint::{PaperCheckpoint, PaperTraining};
use crate::model::paper::Network;
use crate::network::Weights;
use crate::parallel::Threads;
use crate::tensor::{StateDict, Tensor};
use crate::train::{TrainError, TrainingData};

impl Trainer {
    /// The settings of the run in a checkpoint.
    ///
    /// # Errors
    /// A checkpoint without a run.
    pub fn settings_of(checkpoint: &PaperCheckpoint) -> Result<Settings, TrainError> {
        progress_of(checkpoint).map(|(progress, _)| progress.settings)
    }

    /// Goes on with a run, from what [`Self::checkpoint`] made.
    ///
    /// # Errors
    /// A checkpoint without a run, or of a run on other puzzles.
    pub fn resume(
        checkpoint: &PaperCheckpoint,
        data: TrainingData,
        threads: Threads,
    ) -> Result<Self, TrainError> {
        let wrong = |what: String| TrainError::NotResumable(what);
        let (progress, training) = progress_of(checkpoint)?;
        if progress.data_sizes != data.sizes() {
            return Err(wrong(format!(
                "it was trained on {:?} puzzles (training, validation, held out), but the data has {:?} now",
                progress.data_sizes,
                data.sizes()
            )));
        }
        let config = &progress.settings.model;
        let batch = progress.settings.training.batch_size;
        let values = batch * config.state_len();
        let fits = training.carry.iter().all(|state| state.data.len() == values);
        if !fits || progress.places.len() != batch || *config != checkpoint.config {
            return Err(wrong("its record, its settings and its states are not of one run".into()));
        }
        let layout = Network::layout(config);
        let read = |state: &StateDict| Weights::from_state_dict(&layout, state.clone());
        let sets = training.sets.each_ref().map(read);
        let weights = read(&checkpoint.model);
        Self::assemble(progress, data, threads, weights, sets, Some(&training.carry))
    }

    /// Everything that [`Self::resume`] needs.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] if a weight is not: such a file must not replace a good one.
    pub fn checkpoint(&self) -> Result<PaperCheckpoint, TrainError> {
        let weights = self.model.weights();
        if !weights.is_finite() {
            return Err(TrainError::NotFinite { step: self.progress.step, loss: f64::NAN });
        }
        let config = self.settings().model.clone();
        let shape = vec![self.progress.places.len(), config.tokens(), config.hidden_size];
        let state = |values: &Vec<f32>| Tensor { shape: shape.clone(), data: values.clone() };
        Ok(PaperCheckpoint {
            model: weights.state_dict(),
            training: Some(PaperTraining {
                state_json: serde_json::to_string(&self.progress).expect("numbers and lists are JSON"),
                sets: [&self.exp_avg, &self.exp_avg_sq, &self.ema].map(Weights::state_dict),
                carry: [state(&self.carry.z_h), state(&self.carry.z_l)],
            }),
            config,
        })
    }
}

/// The record of the run in a checkpoint, and the rest of its state.
fn progress_of(checkpoint: &PaperCheckpoint) -> Result<(Progress, &PaperTraining), TrainError> {
    let wrong = |what: String| TrainError::NotResumable(what);
    let training = checkpoint.training.as_ref().ok_or_else(|| wrong("it holds no training run".into()))?;
    let progress: Progress =
        serde_json::from_str(&training.state_json).map_err(|e| wrong(format!("its record: {e}")))?;
    progress.settings.validate().map_err(|e| wrong(e.to_string()))?;
    Ok((progress, training))
}
