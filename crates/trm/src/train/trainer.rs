//! The state of a training run and its steps: every random choice is a function of (seed, epoch, step), so a run
//! that was interrupted goes on bit for bit.

use super::curriculum::Stages;
use super::draw::Draw;
use super::history::EpochRecord;
use super::optimizer::{AdamW, clip_factor, global_norm};
use super::pruning::{self, Pruned};
use super::schedule::{constraint_weights, learning_rate};
use super::{Progress, TrainError, TrainingData};
use crate::checkpoint::Checkpoint;
use crate::config::TrmConfig;
use crate::evaluate::{Evaluation, evaluate};
use crate::model::{Batch, Budget, Engine, Model, Network, Recording, States, TrainingStep};
use crate::network::Weights;
use crate::ops::Dropout;
use crate::parallel::Threads;
use crate::sudoku::{CELLS, Puzzle};
use crate::tensor::Spread;
use serde::Serialize;

/// What one step did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Steps made in this epoch, this one included.
    pub step_in_epoch: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Steps made in the run, this one included.
    pub step: u64,
    /// Mean cross-entropy of the batch.
    pub loss: f64,
    /// Mean penalty of a board for rows, columns and boxes, before any weight.
    pub constraint_loss: f64,
    /// Share of the batch's cells that are right.
    pub cell_accuracy: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Puzzles a second, of this step.
    pub samples_per_s: f64,
}

/// A training run in memory.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: TrmConfig,
    pub(super) data: TrainingData,
    threads: Threads,
    pub(super) model: Model,
    pub(super) optimizer: AdamW,
    pub(super) ema: Option<Weights>,
    grads: Weights,
    engine: Engine,
    evaluator: Engine,
    pub(super) progress: Progress,
    pub(super) draw: Draw,
    pub(super) stages: Option<Stages>,
    /// The puzzles that stay in the batch, and their states.
    pub(super) staying: (Vec<Puzzle>, States),
}

impl Trainer {
    /// A new run.
    ///
    /// # Errors
    /// [`TrainError::NoData`] without training puzzles.
    pub fn new(config: TrmConfig, data: TrainingData, threads: Threads) -> Result<Self, TrainError> {
        let weights = Network::first_weights(&config.network, config.network.seed);
        Self::from_weights(config, weights, data, threads)
    }

    /// A new run that starts from these weights.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn from_weights(
        config: TrmConfig,
        weights: Weights,
        data: TrainingData,
        threads: Threads,
    ) -> Result<Self, TrainError> {
        let ema = (config.training.ema > 0.0).then(|| weights.clone());
        let optimizer = AdamW::new(&weights);
        let progress = Progress { data_sizes: data.sizes(), ..Progress::default() };
        Self::assemble(config, data, threads, weights, optimizer, ema, progress)
    }

    pub(super) fn assemble(
        config: TrmConfig,
        data: TrainingData,
        threads: Threads,
        weights: Weights,
        optimizer: AdamW,
        ema: Option<Weights>,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        if data.train.is_empty() {
            return Err(TrainError::NoData);
        }
        let grads = Weights::zeros(weights.layout());
        let model = Model::new(config.network.clone(), weights, &threads);
        Ok(Self {
            draw: Draw::new(&config.data, config.network.seed, data.train.len()),
            stages: Stages::new(&config.data, &data, &threads),
            staying: Default::default(),
            grads,
            engine: Engine::new(Recording::for_training(&config.run)),
            evaluator: Engine::new(Recording::Nothing),
            config,
            data,
            threads,
            model,
            optimizer,
            ema,
            progress,
        })
    }

    /// The run's configuration.
    pub fn config(&self) -> &TrmConfig {
        &self.config
    }

    /// The run's puzzles.
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// The model as trained so far, without averaging.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Worker threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Where the run is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Puzzles of one epoch, each copy counted.
    pub fn samples_per_epoch(&self) -> usize {
        self.draw.samples()
    }

    /// Steps of one epoch; the last one may be smaller.
    pub fn steps_per_epoch(&self) -> usize {
        self.samples_per_epoch().div_ceil(self.config.training.batch_size)
    }

    /// Steps of the whole run, early stopping aside.
    pub fn total_steps(&self) -> u64 {
        (self.steps_per_epoch() * self.config.run.epochs) as u64
    }

    /// Whether all steps of the current epoch are made.
    pub fn epoch_is_complete(&self) -> bool {
        self.progress.step_in_epoch >= self.steps_per_epoch()
    }

    /// Whether there is nothing left to do: all epochs done, or no better accuracy for `patience` epochs.
    pub fn is_finished(&self) -> bool {
        self.progress.epoch >= self.config.run.epochs || self.has_stopped_early()
    }

    /// Whether patience has run out.
    pub fn has_stopped_early(&self) -> bool {
        let waited = self.progress.best.map_or(0, |(_, epoch)| self.progress.epoch - epoch);
        self.config.run.patience > 0 && waited >= self.config.run.patience
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if loss or gradient are not finite; the weights are then those before the step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = std::time::Instant::now();
        self.open_scheduled_stages();
        let (puzzles, mut states) = self.batch();
        let batch = Batch::of(&puzzles);
        let step = self.optimizer.step;
        let this_step = TrainingStep {
            number: step,
            hypotheses: self.stages.as_ref().is_none_or(|stages| stages.is_last(self.progress.opened.len())),
            dropout: Dropout::new(self.config.network.dropout, self.config.network.seed, step),
            constraint_weights: constraint_weights(&self.config.training, step, self.total_steps()),
        };
        self.grads.clear(&self.threads);
        let Self { engine, model, grads, threads, .. } = self;
        let tally = engine.forward_backward(model, &batch, &mut states, &this_step, grads, threads);
        let grad_norm = global_norm(&self.grads, &self.threads);
        if !(tally.loss().is_finite() && grad_norm.is_finite()) {
            return Err(self.divergence(tally.loss(), grad_norm));
        }
        let lr = learning_rate(&self.config.training, step, self.total_steps());
        let clip = clip_factor(grad_norm, self.config.training.clip_norm);
        let steps = [step + 1, self.total_steps()];
        let Self { optimizer, config, grads, ema, threads, .. } = self;
        self.model.update_weights(threads, |weights| {
            let pruned = Pruned::of(&config.training, weights);
            optimizer.update(&config.training, lr, clip, [weights, grads], ema.as_mut(), threads);
            pruned.prune(config, steps, weights, ema.as_mut());
        });
        let seconds = started.elapsed().as_secs_f64();
        self.progress.count(&tally, grad_norm, seconds);
        self.keep_unsolved(puzzles, states);
        Ok(StepReport {
            epoch: self.progress.epoch + 1,
            step_in_epoch: self.progress.step_in_epoch,
            steps_per_epoch: self.steps_per_epoch(),
            step: self.optimizer.step,
            loss: tally.loss(),
            constraint_loss: tally.constraint_loss(),
            cell_accuracy: tally.cell_accuracy(),
            grad_norm,
            lr,
            samples_per_s: batch.puzzles() as f64 / seconds,
        })
    }

    /// Validates, closes the epoch and returns its record.
    pub fn finish_epoch(&mut self) -> EpochRecord {
        let started = std::time::Instant::now();
        let validation = self.validate();
        let stage_accuracy = self.stage_accuracy();
        self.progress.elapsed_s += started.elapsed().as_secs_f64();
        self.progress.epoch += 1;
        let accuracy = validation.as_ref().map_or(self.progress.train_cell_accuracy(), |v| v.cell_accuracy);
        let is_pruned = pruning::is_complete(&self.config.training, self.optimizer.step, self.total_steps());
        let is_best = is_pruned && self.progress.best.is_none_or(|(best, _)| accuracy > best);
        if is_best {
            self.progress.best = Some((accuracy, self.progress.epoch));
        }
        let record = EpochRecord { stage_accuracy, ..self.record(validation.as_ref(), is_best) };
        let stage = self.progress.opened.len();
        let opens = |stages: &Stages| stage_accuracy.is_some_and(|share| stages.opens_next(stage, share));
        if self.stages.as_ref().is_some_and(opens) {
            self.progress.opened.push(self.progress.drawn);
        }
        self.progress.history.push(record.clone());
        self.progress.begin_epoch();
        record
    }

    fn validate(&mut self) -> Option<Evaluation> {
        if self.data.validation.is_empty() {
            return None;
        }
        let puzzles = std::mem::take(&mut self.data.validation);
        let evaluation = self.evaluate(&puzzles);
        self.data.validation = puzzles;
        Some(evaluation)
    }

    /// Evaluates the model that is validated and shipped.
    fn evaluate(&mut self, puzzles: &[Puzzle]) -> Evaluation {
        let averaged = self.averaged_model();
        let model = averaged.as_ref().unwrap_or(&self.model);
        let budget = Budget::trained(&self.config.network);
        evaluate(model, &mut self.evaluator, puzzles, &budget, &self.threads)
    }

    /// The record of the epoch that ends.
    fn record(&self, validation: Option<&Evaluation>, is_best: bool) -> EpochRecord {
        let (progress, [latent_gate, output_gate]) = (&self.progress, self.gates());
        EpochRecord {
            epoch: progress.epoch,
            step: self.optimizer.step,
            train_loss: progress.loss_sum / progress.cells[0].max(1) as f64,
            train_cell_accuracy: progress.train_cell_accuracy(),
            val_loss: validation.map(|v| v.loss),
            val_cell_accuracy: validation.map(|v| v.cell_accuracy),
            val_blank_accuracy: validation.map(|v| v.blank_accuracy),
            val_board_accuracy: validation.map(|v| v.board_accuracy),
            train_constraint_loss: Some(progress.train_constraint_loss()),
            val_constraint_loss: validation.map(|v| v.constraint_loss),
            val_conflicts_per_board: validation.map(|v| v.conflicts_per_board),
            stage: self.stages.as_ref().map(|_| progress.opened.len() + 1),
            stage_accuracy: None,
            lr: learning_rate(
                &self.config.training,
                self.optimizer.step.saturating_sub(1),
                self.total_steps(),
            ),
            grad_norm_mean: progress.grad_norms[0] / progress.step_in_epoch.max(1) as f64,
            grad_norm_max: progress.grad_norms[1],
            latent_gate: latent_gate.mean,
            output_gate: output_gate.mean,
            latent_gate_range: latent_gate.range,
            output_gate_range: output_gate.range,
            samples_per_s: progress.cells[0] as f64 / CELLS as f64 / progress.epoch_s.max(1e-9),
            elapsed_s: progress.elapsed_s,
            is_best,
        }
    }

    /// The model that is validated and shipped: the averaged weights, or nothing if there is no average.
    pub fn averaged_model(&self) -> Option<Model> {
        let ema = self.ema.as_ref()?;
        Some(Model::new(self.config.network.clone(), ema.clone(), &self.threads))
    }

    /// Evaluates `best` on the rows that were held out.
    pub fn evaluate_holdout(&self, best: Checkpoint) -> Option<Evaluation> {
        if self.data.holdout.is_empty() {
            return None;
        }
        let model = best.into_model(&self.threads);
        let (mut engine, budget) = (Engine::new(Recording::Nothing), Budget::trained(&self.config.network));
        Some(evaluate(&model, &mut engine, &self.data.holdout, &budget, &self.threads))
    }

    /// Share of the cells right on what the newest stage opened, where that decides whether another one opens.
    fn stage_accuracy(&mut self) -> Option<f64> {
        let stages = self.stages.as_ref().filter(|stages| stages.is_by_competence())?;
        let newest = stages.newest(self.progress.opened.len());
        let puzzles: Vec<Puzzle> = newest.iter().map(|i| self.data.validation[*i as usize]).collect();
        if puzzles.is_empty() {
            return Some(self.progress.train_cell_accuracy());
        }
        Some(self.evaluate(&puzzles).cell_accuracy)
    }

    fn gates(&self) -> [Spread; 2] {
        let network = self.model.network();
        [network.latent_gate, network.output_gate].map(|gate| Spread::of(&self.model.weights()[gate].data))
    }

    pub(super) fn divergence(&self, loss: f64, grad_norm: f64) -> TrainError {
        TrainError::Diverged {
            epoch: self.progress.epoch + 1,
            step: self.optimizer.step + 1,
            loss,
            grad_norm,
            gates: self.gates(),
            recent_norms: self.progress.recent_norms.clone(),
        }
    }
}
