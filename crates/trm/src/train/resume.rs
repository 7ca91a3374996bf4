//! What a checkpoint holds of a run, and the run that goes on from it.

use super::optimizer::{ADAM_EPS, AdamW};
use super::{Progress, TrainError, Trainer, TrainingData};
use crate::checkpoint::{Checkpoint, Losses, OptimizerState, Training};
use crate::config::NetworkConfig;
use crate::model::{Network, States};
use crate::network::Weights;
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use crate::tensor::{StateDict, Tensor};

impl Trainer {
    /// Goes on with the run that wrote `checkpoint`.
    ///
    /// # Errors
    /// [`TrainError::NotResumable`] if the file holds no optimiser and progress, [`TrainError::NoData`].
    pub fn resume(checkpoint: &Checkpoint, data: TrainingData, threads: Threads) -> Result<Self, TrainError> {
        let config = checkpoint.config.clone();
        let (Some(optimizer), Some(training)) = (&checkpoint.optimizer, &checkpoint.training) else {
            return Err(TrainError::NotResumable("it holds no optimiser state: a production file".into()));
        };
        let progress: Progress = serde_json::from_str(&training.state_json)
            .map_err(|e| TrainError::NotResumable(e.to_string()))?;
        if progress.data_sizes != data.sizes() {
            return Err(TrainError::NotResumable(format!(
                "it was trained on {:?} puzzles (training, validation, held out), but the data has {:?} now",
                progress.data_sizes,
                data.sizes()
            )));
        }
        let layout = Network::layout(&config.network);
        let read = |state: &StateDict| Weights::from_state_dict(&layout, state.clone());
        let optimizer = AdamW {
            step: optimizer.step,
            exp_avg: read(&optimizer.exp_avg),
            exp_avg_sq: read(&optimizer.exp_avg_sq),
        };
        let ema = training.ema.as_ref().map(read);
        if ema.is_some() != (config.training.ema > 0.0) {
            return Err(TrainError::NotResumable("its weight average does not fit its setting `ema`".into()));
        }
        let weights = read(&checkpoint.model);
        let states = carried_states(&config.network, training.carry.as_ref(), progress.staying.len())?;
        let mut trainer = Self::assemble(config, data, threads, weights, optimizer, ema, progress)?;
        let drawn: Vec<u64> = trainer.progress.staying.iter().map(|(number, _)| *number).collect();
        trainer.staying = (drawn.into_iter().map(|number| trainer.puzzle(number)).collect(), states);
        Ok(trainer)
    }

    /// Everything that [`Self::resume`] needs.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if a weight is not finite: such a file must not replace a good one.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        if !self.model.weights().is_finite() {
            return Err(self.divergence(f64::NAN, f64::NAN));
        }
        let state_json = serde_json::to_string(&self.progress).expect("numbers and lists are JSON");
        let history = &self.progress.history;
        Ok(Checkpoint {
            model: self.model.weights().state_dict(),
            config: self.config.clone(),
            optimizer: Some(OptimizerState {
                step: self.optimizer.step,
                exp_avg: self.optimizer.exp_avg.state_dict(),
                exp_avg_sq: self.optimizer.exp_avg_sq.state_dict(),
                lr: history.last().map_or(self.config.training.lr, |record| record.lr),
                betas: (self.config.training.beta1, self.config.training.beta2),
                eps: ADAM_EPS,
                weight_decay: self.config.training.weight_decay,
            }),
            history: Some(Losses {
                train_losses: history.iter().map(|r| r.train_loss).collect(),
                val_losses: history.iter().filter_map(|r| r.val_loss).collect(),
                val_accuracies: history.iter().filter_map(|r| r.val_cell_accuracy).collect(),
            }),
            training: Some(Training {
                state_json,
                ema: self.ema.as_ref().map(|e| e.state_dict()),
                carry: self.carry(),
            }),
        })
    }

    /// The states of the puzzles that stay, as a checkpoint holds them.
    fn carry(&self) -> Option<StateDict> {
        let states = &self.staying.1;
        let shape =
            [self.progress.staying.len(), self.config.network.state.tokens(), self.config.network.hidden_dim];
        let tensor = |data: &Vec<f32>| Tensor { shape: shape.to_vec(), data: data.clone() };
        let assumed = states.assumed.iter().map(|digit| f32::from(*digit)).collect();
        let assumed = Tensor { shape: vec![shape[0], CELLS], data: assumed };
        let states = [("y", tensor(&states.y)), ("z", tensor(&states.z))];
        let hypotheses = self.config.network.hypotheses.then_some(("assumed", assumed));
        (shape[0] > 0).then(|| states.into_iter().chain(hypotheses).map(|(n, t)| (n.into(), t)).collect())
    }
}

/// The states that a checkpoint holds for the puzzles that stay in the batch.
fn carried_states(
    config: &NetworkConfig,
    carry: Option<&StateDict>,
    puzzles: usize,
) -> Result<States, TrainError> {
    let values = puzzles * config.state.tokens() * config.hidden_dim;
    let find = |name: &str, values: usize| {
        let tensor = carry.and_then(|carry| carry.iter().find(|(n, _)| n == name));
        let data = tensor.map_or(Vec::new(), |(_, tensor)| tensor.data.clone());
        let message = "its carried states do not fit the puzzles in its batch";
        (data.len() == values).then_some(data).ok_or_else(|| TrainError::NotResumable(message.into()))
    };
    let assumed = match config.hypotheses {
        true => find("assumed", puzzles * CELLS)?.into_iter().map(|digit| digit as u8).collect(),
        false => vec![0; puzzles * CELLS],
    };
    Ok(States { y: find("y", values)?, z: find("z", values)?, assumed, solved: vec![false; puzzles] })
}
