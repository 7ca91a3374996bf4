//! The state of a training run and its steps: every random choice is a function of the seed and of where the run is, so a run
//! that was interrupted goes on bit for bit.

use super::curriculum::Stages;
use super::draw::Draw;
use super::history::Record;
use super::kind::{Kind, Settings, StepContext};
use super::optimizer::{AdamW, StepSize, clip_factor, global_norm};
use super::places::Places;
use super::pruning::{self, Pruned};
use super::{Length, Progress, Regime, TrainError, TrainingData};
use crate::checkpoint::Stored;
use crate::evaluate::{Evaluation, evaluate};
use crate::model::{Batch, Model};
use crate::network::Weights;
use crate::parallel::Threads;
use crate::sudoku::{CELLS, Puzzle};
use crate::timing::{Phase, phase};
use serde::Serialize;

/// Loss, accuracy and gradient of one optimiser step.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// Round, from 1: an epoch, or the steps up to a validation.
    pub round: usize,
    /// Steps made in this round, this one included.
    pub step_in_round: u64,
    /// Steps of a round.
    pub steps_per_round: u64,
    /// Steps made in the run, this one included.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f64,
    /// Mean penalty of a board for rows, columns and boxes, before any weight.
    pub constraint_loss: f64,
    /// Share of the batch's cells that are right.
    pub cell_accuracy: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Puzzles that leave the batch.
    pub left: u64,
    /// Puzzles a second, of this step.
    pub samples_per_s: f64,
}

/// A training run in memory, of any kind of model.
#[derive(Debug)]
pub struct Trainer<K: Kind = Model> {
    pub(super) settings: K::Settings,
    pub(super) regime: Regime,
    pub(super) data: TrainingData,
    threads: Threads,
    pub(super) model: K,
    pub(super) optimizer: AdamW,
    pub(super) average: Option<Weights>,
    grads: Weights,
    engine: K::Engine,
    pub(super) progress: Progress,
    draw: Draw,
    stages: Option<Stages>,
    /// The puzzles that stay in the batch, and their states.
    pub(super) batch: Places<K>,
}

/// The progress of a run and its length, as observers of the run see them.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// How the run goes.
    pub regime: &'a Regime,
    /// The progress of the run.
    pub progress: &'a Progress,
    /// Steps of the whole run, early stopping aside.
    pub total_steps: u64,
}

impl<K: Kind> Trainer<K> {
    /// A new run.
    ///
    /// # Errors
    /// [`TrainError::NoData`] without training puzzles.
    pub fn new(settings: K::Settings, data: TrainingData, threads: Threads) -> Result<Self, TrainError> {
        let weights = Weights::first(&settings.layout(), settings.regime().seed);
        Self::from_weights(settings, weights, data, threads)
    }

    /// A new run that starts from `weights`.
    ///
    /// # Errors
    /// [`TrainError::NoData`] without training puzzles.
    pub fn from_weights(
        settings: K::Settings,
        weights: Weights,
        data: TrainingData,
        threads: Threads,
    ) -> Result<Self, TrainError> {
        let average = settings.regime().has_average.then(|| weights.clone());
        let optimizer = AdamW::new(&weights);
        let progress = Progress { data_sizes: data.sizes(), ..Progress::default() };
        Self::assemble((settings, data, threads), (weights, optimizer, average), progress)
    }

    pub(super) fn assemble(
        (settings, data, threads): (K::Settings, TrainingData, Threads),
        (weights, optimizer, average): (Weights, AdamW, Option<Weights>),
        progress: Progress,
    ) -> Result<Self, TrainError> {
        if data.train.is_empty() {
            return Err(TrainError::NoData);
        }
        let regime = settings.regime();
        Ok(Self {
            draw: Draw::new(&regime, data.train.len()),
            stages: Stages::new(&regime.data, &data, &threads),
            grads: Weights::zeros(weights.layout()),
            engine: K::engine(&settings),
            batch: Places::default(),
            model: K::build(&settings, weights, &threads),
            settings,
            regime,
            data,
            threads,
            optimizer,
            average,
            progress,
        })
    }

    /// The run's settings.
    pub fn settings(&self) -> &K::Settings {
        &self.settings
    }

    /// How the run goes.
    pub fn regime(&self) -> &Regime {
        &self.regime
    }

    /// The run's puzzles.
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// The model as trained so far, without averaging.
    pub fn model(&self) -> &K {
        &self.model
    }

    /// Worker threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// The progress of the run, including the puzzles that stay in the batch.
    pub fn progress(&self) -> Progress {
        let places = &self.batch.places;
        Progress {
            staying: places.iter().map(|place| (place.number, place.segments)).collect(),
            leaving: places.iter().filter(|_| self.regime.keeps_places).map(|place| place.leaves).collect(),
            ..self.progress.clone()
        }
    }

    /// The progress of the run and its length, for an observer.
    pub fn standing(&self) -> Standing<'_> {
        Standing { regime: &self.regime, progress: &self.progress, total_steps: self.total_steps() }
    }

    /// Draws of one epoch: every training puzzle, each copy counted.
    pub fn samples_per_epoch(&self) -> usize {
        self.draw.samples()
    }

    /// Steps of one round.
    pub fn steps_per_round(&self) -> u64 {
        self.regime.round_steps(self.samples_per_epoch())
    }

    /// Steps of the whole run, early stopping aside.
    pub fn total_steps(&self) -> u64 {
        self.regime.total_steps(self.samples_per_epoch())
    }

    /// Steps made so far.
    pub fn step_count(&self) -> u64 {
        self.optimizer.step
    }

    /// Whether all steps of the current round are made.
    pub fn round_is_complete(&self) -> bool {
        let made = self.progress.step_in_epoch as u64;
        match self.regime.length {
            Length::Epochs(_) => made >= self.steps_per_round(),
            Length::Steps { steps, round } => {
                made > 0 && (self.optimizer.step.is_multiple_of(round) || self.optimizer.step >= steps)
            }
        }
    }

    /// Whether there is nothing left to do: all rounds done, or no better accuracy for `patience` of them.
    pub fn is_finished(&self) -> bool {
        let is_over = match self.regime.length {
            Length::Epochs(epochs) => self.progress.epoch >= epochs,
            Length::Steps { steps, .. } => self.optimizer.step >= steps && self.progress.step_in_epoch == 0,
        };
        is_over || self.has_stopped_early()
    }

    /// Whether patience has run out.
    pub fn has_stopped_early(&self) -> bool {
        let waited = self.progress.best.map_or(0, |(_, round)| self.progress.epoch - round);
        self.regime.patience > 0 && waited >= self.regime.patience
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if loss or gradient are not finite; the weights are then those before the step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = std::time::Instant::now();
        self.open_scheduled_stages();
        self.fill_batch();
        let batch = Batch::of(&self.batch.puzzles);
        let (number, total) = (self.optimizer.step, self.total_steps());
        let last_stage = self.stages.as_ref().is_none_or(|s| s.is_last(self.progress.opened.len()));
        self.grads.clear(&self.threads);
        let Self { model, settings, engine, batch: places, grads, threads, .. } = self;
        let step = StepContext { settings: &*settings, number, total, last_stage };
        let outcome = model.forward_backward(engine, &batch, &mut places.states, step, grads, threads);
        let grad_norm = global_norm(&self.grads, &self.threads);
        if !(outcome.loss().is_finite() && grad_norm.is_finite()) {
            return Err(self.divergence(outcome.loss(), grad_norm));
        }
        let lr = self.update(grad_norm);
        let seconds = started.elapsed().as_secs_f64();
        let left = self.batch.halt(&self.regime, self.optimizer.step, &outcome);
        self.progress.count(&outcome, grad_norm, left, seconds);
        Ok(StepReport {
            round: self.progress.epoch + 1,
            step_in_round: self.progress.step_in_epoch as u64,
            steps_per_round: self.steps_per_round(),
            step: self.optimizer.step,
            loss: outcome.loss(),
            constraint_loss: outcome.constraint_sum / batch.puzzles().max(1) as f64,
            cell_accuracy: outcome.cell_accuracy(),
            grad_norm,
            lr,
            left: left[0],
            samples_per_s: batch.puzzles() as f64 / seconds,
        })
    }

    /// Opens the stages of the curriculum that the step that comes next is to draw from.
    fn open_scheduled_stages(&mut self) {
        let total = self.total_steps();
        let Some(stages) = &self.stages else { return };
        let stage = stages.scheduled(self.optimizer.step, total);
        while self.progress.opened.len() < stage {
            self.progress.opened.push(self.progress.drawn);
        }
    }

    /// The puzzles of the next step and the states they go on from: those that stay, then new ones.
    fn fill_batch(&mut self) {
        let _timed = phase(Phase::Data);
        let size = self.regime.batch_size;
        // Where no puzzle stays, an epoch is one pass over all of them, and its last batch what is left.
        let left = self.samples_per_epoch().saturating_sub(self.progress.step_in_epoch * size);
        let is_a_pass = self.regime.segments == 1 && matches!(self.regime.length, Length::Epochs(_));
        let size = if is_a_pass { size.min(left) } else { size };
        let Self { batch, model, draw, stages, data, progress, regime, .. } = self;
        let puzzle = |number| draw.of_stage(&data.train, stages.as_ref(), progress.stage_of(number), number);
        progress.drawn = batch.fill(model, regime.seed, (size, progress.drawn), puzzle);
    }

    /// The puzzle of a draw.
    pub(super) fn puzzle(&mut self, number: u64) -> Puzzle {
        let stage = self.progress.stage_of(number);
        self.draw.of_stage(&self.data.train, self.stages.as_ref(), stage, number)
    }

    /// Moves the weights and their average; returns the learning rate.
    fn update(&mut self, grad_norm: f64) -> f64 {
        let (step, total) = (self.optimizer.step, self.total_steps());
        let Regime { schedule, rules, clip_norm, prune: (kind, sparsity), .. } = self.regime;
        let clip = clip_norm.map_or(1.0, |most| clip_factor(grad_norm, most));
        let size = StepSize { lr: schedule.rate(step, total), share: schedule.warmed_up(step), clip };
        let due = pruning::due((kind, sparsity), [step + 1, total]);
        let Self { optimizer, grads, average, threads, model, settings, .. } = self;
        model.update_weights(threads, |weights| {
            let pruned = Pruned::of(kind, weights);
            optimizer.update(&rules, size, [weights, grads], average.as_mut(), threads);
            pruned.clear(weights);
            if let Some(sparsity) = due {
                K::prune(settings, weights, kind, sparsity);
            }
            pruning::clear_average(kind, weights, average.as_mut());
        });
        size.lr
    }

    /// Validates, closes the round and returns its record.
    pub fn finish_round(&mut self) -> Record {
        let started = std::time::Instant::now();
        let validation = (!self.data.validation.is_empty()).then(|| self.evaluate(&self.data.validation));
        let stage_accuracy = self.stage_accuracy();
        self.progress.elapsed_s += started.elapsed().as_secs_f64();
        self.progress.epoch += 1;
        let accuracy = validation.as_ref().map_or(self.progress.train_cell_accuracy(), K::score);
        let is_pruned = pruning::is_complete(self.regime.prune.0, self.optimizer.step, self.total_steps());
        let is_best = is_pruned && self.progress.best.is_none_or(|(best, _)| accuracy > best);
        if is_best {
            self.progress.best = Some((accuracy, self.progress.epoch));
        }
        let record = Record { stage_accuracy, ..self.record(validation.as_ref(), is_best) };
        let stage = self.progress.opened.len();
        let opens = |stages: &Stages| stage_accuracy.is_some_and(|share| stages.opens_next(stage, share));
        if self.stages.as_ref().is_some_and(opens) {
            self.progress.opened.push(self.progress.drawn);
        }
        self.progress.history.push(record.clone());
        self.progress.begin_round();
        record
    }

    /// Evaluates the model that is validated and shipped.
    fn evaluate(&self, puzzles: &[Puzzle]) -> Evaluation {
        let averaged = self.averaged_model();
        let model = averaged.as_ref().unwrap_or(&self.model);
        evaluate(model, puzzles, &model.trained_budget(), &self.threads)
    }

    /// The model that is validated and shipped: the averaged weights, or nothing if there is no average.
    pub fn averaged_model(&self) -> Option<K> {
        Some(K::build(&self.settings, self.average.clone()?, &self.threads))
    }

    /// Evaluates `best` on the rows that were held out.
    pub fn evaluate_holdout(&self, best: &K) -> Option<Evaluation> {
        let puzzles = &self.data.holdout;
        (!puzzles.is_empty()).then(|| evaluate(best, puzzles, &best.trained_budget(), &self.threads))
    }

    /// The record of the round that ends.
    fn record(&self, validation: Option<&Evaluation>, is_best: bool) -> Record {
        let (progress, step) = (&self.progress, self.optimizer.step);
        let gates = self.model.gates();
        Record {
            epoch: matches!(self.regime.length, Length::Epochs(_)).then_some(progress.epoch),
            step,
            train_loss: progress.train_loss(),
            train_cell_accuracy: progress.train_cell_accuracy(),
            train_board_accuracy: progress.left_board_accuracy(),
            segments: progress.left_segments(),
            val_loss: validation.map(|v| v.loss),
            val_cell_accuracy: validation.map(|v| v.cell_accuracy),
            val_blank_accuracy: validation.map(|v| v.blank_accuracy),
            val_board_accuracy: validation.map(|v| v.board_accuracy),
            train_constraint_loss: progress.train_constraint_loss(),
            val_constraint_loss: validation.map(|v| v.constraint_loss),
            val_conflicts_per_board: validation.map(|v| v.conflicts_per_board),
            stage: self.stages.as_ref().map(|_| progress.opened.len() + 1),
            stage_accuracy: None,
            lr: self.regime.schedule.rate(step.saturating_sub(1), self.total_steps()),
            grad_norm_mean: progress.grad_norms[0] / progress.step_in_epoch.max(1) as f64,
            grad_norm_max: progress.grad_norms[1],
            latent_gate: gates.map(|[latent, _]| latent.mean),
            output_gate: gates.map(|[_, output]| output.mean),
            latent_gate_range: gates.and_then(|[latent, _]| latent.range),
            output_gate_range: gates.and_then(|[_, output]| output.range),
            samples_per_s: progress.cells[0] as f64 / CELLS as f64 / progress.epoch_s.max(1e-9),
            elapsed_s: progress.elapsed_s,
            is_best,
        }
    }

    /// Share of the cells right on what the newest stage opened, where that decides whether another one opens.
    fn stage_accuracy(&self) -> Option<f64> {
        let stages = self.stages.as_ref().filter(|stages| stages.is_by_competence())?;
        let newest = stages.newest(self.progress.opened.len());
        let puzzles: Vec<Puzzle> = newest.iter().map(|i| self.data.validation[*i as usize]).collect();
        if puzzles.is_empty() {
            return Some(self.progress.train_cell_accuracy());
        }
        Some(self.evaluate(&puzzles).cell_accuracy)
    }

    pub(super) fn divergence(&self, loss: f64, grad_norm: f64) -> TrainError {
        TrainError::Diverged {
            round: self.progress.epoch + 1,
            step: self.optimizer.step + 1,
            loss,
            grad_norm,
            gates: self.model.gates(),
            recent_norms: self.progress.recent_norms.clone(),
        }
    }
}
