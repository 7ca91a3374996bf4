//! The state of a training run and its steps: every random choice is a function of (seed, epoch, step), so a run
//! that was interrupted goes on bit for bit.

use super::TrainError;
use super::history::EpochRecord;
use super::optimizer::{ADAM_EPS, AdamW, clip_factor, global_norm};
use super::schedule::learning_rate;
use crate::checkpoint::{Checkpoint, Losses, OptimizerState, Training};
use crate::config::TrmConfig;
use crate::data::{Dataset, EpochOrder};
use crate::evaluate::{Evaluation, batch_of, evaluate};
use crate::model::{Budget, CELLS, Engine, Model, Params, Recording, States, Tally};
use crate::ops::Dropout;
use crate::parallel::Threads;
use crate::sudoku::{Grid, Puzzle, Symmetry};
use crate::tensor::{StateDict, Tensor};
use crate::timing::{Phase, phase};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Gradient norms that are remembered for the report of a divergence.
const RECENT_NORMS: usize = 5;

/// Puzzles to train on and to validate with.
#[derive(Clone, Debug, Default)]
pub struct TrainingData {
    /// What the gradient sees.
    pub train: Vec<Puzzle>,
    /// What decides which epoch was best.
    pub validation: Vec<Puzzle>,
    /// What nothing is decided by: evaluated once at the end.
    pub holdout: Vec<Puzzle>,
}

impl TrainingData {
    /// Numbers of puzzles for training, validation and the end.
    pub fn sizes(&self) -> [usize; 3] {
        [self.train.len(), self.validation.len(), self.holdout.len()]
    }
}

/// Where a run is, and what it has seen: all that resuming needs beyond weights and moments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs completed.
    pub epoch: usize,
    /// Steps made in the current epoch.
    pub step_in_epoch: usize,
    /// Loss sum and hits of the current epoch: cross-entropy, cells, cells right.
    pub loss_sum: f64,
    /// Cells seen in the current epoch, and those predicted right.
    pub cells: [u64; 2],
    /// Sum and maximum of the gradient norms of the current epoch.
    pub grad_norms: [f64; 2],
    /// Last gradient norms, newest last.
    pub recent_norms: Vec<f64>,
    /// Seconds of training so far, over all sittings.
    pub elapsed_s: f64,
    /// Seconds of the current epoch.
    pub epoch_s: f64,
    /// Best validation accuracy so far and its epoch.
    pub best: Option<(f64, usize)>,
    /// One record for each completed epoch.
    pub history: Vec<EpochRecord>,
    /// Numbers of puzzles for training, validation and the end: other data would be another run.
    #[serde(default)]
    pub data_sizes: [usize; 3],
    /// Puzzles that were drawn for the batch so far.
    #[serde(default)]
    pub drawn: u64,
    /// Puzzles that stay in the batch: number of the draw, and supervision segments behind it.
    #[serde(default)]
    pub staying: Vec<(u64, usize)>,
}

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
    config: TrmConfig,
    data: TrainingData,
    threads: Threads,
    model: Model,
    optimizer: AdamW,
    ema: Option<Params>,
    grads: Params,
    engine: Engine,
    evaluator: Engine,
    progress: Progress,
    /// The pass over the puzzles that is being drawn from, and its order.
    order: (u64, EpochOrder),
    /// The puzzles that stay in the batch, and their states.
    staying: (Vec<Puzzle>, States),
}

impl Trainer {
    /// A new run.
    ///
    /// # Errors
    /// [`TrainError::NoData`] without training puzzles.
    pub fn new(config: TrmConfig, data: TrainingData, threads: Threads) -> Result<Self, TrainError> {
        let params = Params::init(&config);
        let ema = (config.ema > 0.0).then(|| params.clone());
        let optimizer = AdamW::new(&config);
        let progress = Progress { data_sizes: data.sizes(), ..Progress::default() };
        Self::assemble(config, data, threads, params, optimizer, ema, progress)
    }

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
        let read = |state| Params::from_state_dict(&config, state);
        let optimizer = AdamW {
            step: optimizer.step,
            exp_avg: read(&optimizer.exp_avg),
            exp_avg_sq: read(&optimizer.exp_avg_sq),
        };
        let ema = training.ema.as_ref().map(read);
        if ema.is_some() != (config.ema > 0.0) {
            return Err(TrainError::NotResumable("its weight average does not fit its setting `ema`".into()));
        }
        let params = read(&checkpoint.model);
        let states = carried_states(&config, training.carry.as_ref(), progress.staying.len())?;
        let mut trainer = Self::assemble(config, data, threads, params, optimizer, ema, progress)?;
        let drawn: Vec<u64> = trainer.progress.staying.iter().map(|(number, _)| *number).collect();
        trainer.staying = (drawn.into_iter().map(|number| trainer.puzzle(number)).collect(), states);
        Ok(trainer)
    }

    fn assemble(
        config: TrmConfig,
        data: TrainingData,
        threads: Threads,
        params: Params,
        optimizer: AdamW,
        ema: Option<Params>,
        progress: Progress,
    ) -> Result<Self, TrainError> {
        if data.train.is_empty() {
            return Err(TrainError::NoData);
        }
        let model = Model::new(config.clone(), params, &threads);
        Ok(Self {
            order: (0, EpochOrder::new(data.train.len() * config.augment_copies, config.seed, 0)),
            staying: Default::default(),
            grads: Params::zeros(&config),
            engine: Engine::new(Recording::for_training(&config)),
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
        self.data.train.len() * self.config.augment_copies
    }

    /// Steps of one epoch; the last one may be smaller.
    pub fn steps_per_epoch(&self) -> usize {
        self.samples_per_epoch().div_ceil(self.config.batch_size)
    }

    /// Steps of the whole run, early stopping aside.
    pub fn total_steps(&self) -> u64 {
        (self.steps_per_epoch() * self.config.epochs) as u64
    }

    /// Whether all steps of the current epoch are made.
    pub fn epoch_is_complete(&self) -> bool {
        self.progress.step_in_epoch >= self.steps_per_epoch()
    }

    /// Whether there is nothing left to do: all epochs done, or no better accuracy for `patience` epochs.
    pub fn is_finished(&self) -> bool {
        self.progress.epoch >= self.config.epochs || self.has_stopped_early()
    }

    /// Whether patience has run out.
    pub fn has_stopped_early(&self) -> bool {
        let waited = self.progress.best.map_or(0, |(_, epoch)| self.progress.epoch - epoch);
        self.config.patience > 0 && waited >= self.config.patience
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if loss or gradient are not finite; the weights are then those before the step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = std::time::Instant::now();
        let (puzzles, mut states) = self.batch();
        let batch = batch_of(&puzzles);
        let step = self.optimizer.step;
        let dropout = Dropout::new(self.config.dropout, self.config.seed, step);
        self.grads.clear();
        let Self { engine, model, grads, threads, .. } = self;
        let tally = engine.forward_backward(model, &batch, &mut states, &dropout, grads, threads);
        let grad_norm = global_norm(&self.grads, &self.threads);
        if !(tally.loss().is_finite() && grad_norm.is_finite()) {
            return Err(self.divergence(tally.loss(), grad_norm));
        }
        let lr = learning_rate(&self.config, step, self.total_steps());
        let clip = clip_factor(grad_norm, self.config.clip_norm);
        let Self { optimizer, config, grads, ema, threads, .. } = self;
        self.model.update_params(threads, |params| {
            optimizer.update(config, lr, clip, [params, grads], ema.as_mut(), threads);
        });
        let seconds = started.elapsed().as_secs_f64();
        self.count(&tally, grad_norm, seconds);
        self.keep_unsolved(puzzles, states);
        Ok(StepReport {
            epoch: self.progress.epoch + 1,
            step_in_epoch: self.progress.step_in_epoch,
            steps_per_epoch: self.steps_per_epoch(),
            step: self.optimizer.step,
            loss: tally.loss(),
            cell_accuracy: tally.cell_accuracy(),
            grad_norm,
            lr,
            samples_per_s: batch.rows() as f64 / seconds,
        })
    }

    /// Validates, closes the epoch and returns its record.
    pub fn finish_epoch(&mut self) -> EpochRecord {
        let started = std::time::Instant::now();
        let total_steps = self.total_steps();
        let validation = (!self.data.validation.is_empty()).then(|| {
            let averaged = self.averaged_model();
            let model = averaged.as_ref().unwrap_or(&self.model);
            let budget = Budget::trained(&self.config);
            evaluate(model, &mut self.evaluator, &self.data.validation, &budget, &self.threads)
        });
        let progress = &mut self.progress;
        progress.elapsed_s += started.elapsed().as_secs_f64();
        progress.epoch += 1;
        let train_cell_accuracy = progress.cells[1] as f64 / progress.cells[0].max(1) as f64;
        let accuracy = validation.as_ref().map_or(train_cell_accuracy, |v| v.cell_accuracy);
        let is_best = progress.best.is_none_or(|(best, _)| accuracy > best);
        if is_best {
            progress.best = Some((accuracy, progress.epoch));
        }
        let steps = progress.step_in_epoch.max(1) as f64;
        let record = EpochRecord {
            epoch: progress.epoch,
            step: self.optimizer.step,
            train_loss: progress.loss_sum / progress.cells[0].max(1) as f64,
            train_cell_accuracy,
            val_loss: validation.as_ref().map(|v| v.loss),
            val_cell_accuracy: validation.as_ref().map(|v| v.cell_accuracy),
            val_blank_accuracy: validation.as_ref().map(|v| v.blank_accuracy),
            val_board_accuracy: validation.as_ref().map(|v| v.board_accuracy),
            lr: learning_rate(&self.config, self.optimizer.step.saturating_sub(1), total_steps),
            grad_norm_mean: progress.grad_norms[0] / steps,
            grad_norm_max: progress.grad_norms[1],
            latent_gate: f64::from(self.model.params().latent_gate.data[0]),
            output_gate: f64::from(self.model.params().output_gate.data[0]),
            samples_per_s: progress.cells[0] as f64 / CELLS as f64 / progress.epoch_s.max(1e-9),
            elapsed_s: progress.elapsed_s,
            is_best,
        };
        progress.history.push(record.clone());
        *progress = Progress {
            step_in_epoch: 0,
            loss_sum: 0.0,
            cells: [0, 0],
            grad_norms: [0.0, 0.0],
            epoch_s: 0.0,
            ..std::mem::take(progress)
        };
        record
    }

    /// The model that is validated and shipped: the averaged weights, or nothing if there is no average.
    pub fn averaged_model(&self) -> Option<Model> {
        let ema = self.ema.as_ref()?;
        Some(Model::new(self.config.clone(), ema.clone(), &self.threads))
    }

    /// Everything that [`Self::resume`] needs.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if a weight is not finite: such a file must not replace a good one.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let finite = |params: &Params| params.tensors().iter().all(|t| t.data.iter().all(|v| v.is_finite()));
        if !finite(self.model.params()) {
            return Err(self.divergence(f64::NAN, f64::NAN));
        }
        let state_json = serde_json::to_string(&self.progress).expect("numbers and lists are JSON");
        let history = &self.progress.history;
        Ok(Checkpoint {
            model: self.model.params().state_dict(&self.config),
            config: self.config.clone(),
            optimizer: Some(OptimizerState {
                step: self.optimizer.step,
                exp_avg: self.optimizer.exp_avg.state_dict(&self.config),
                exp_avg_sq: self.optimizer.exp_avg_sq.state_dict(&self.config),
                lr: history.last().map_or(self.config.lr, |record| record.lr),
                betas: (self.config.beta1, self.config.beta2),
                eps: ADAM_EPS,
                weight_decay: self.config.weight_decay,
            }),
            history: Some(Losses {
                train_losses: history.iter().map(|r| r.train_loss).collect(),
                val_losses: history.iter().filter_map(|r| r.val_loss).collect(),
                val_accuracies: history.iter().filter_map(|r| r.val_cell_accuracy).collect(),
            }),
            training: Some(Training {
                state_json,
                ema: self.ema.as_ref().map(|e| e.state_dict(&self.config)),
                carry: self.carry(),
            }),
        })
    }

    /// Evaluates `best` on the rows that were held out.
    pub fn evaluate_holdout(&mut self, best: &Checkpoint) -> Option<Evaluation> {
        if self.data.holdout.is_empty() {
            return None;
        }
        let params = Params::from_state_dict(&self.config, &best.model);
        let model = Model::new(self.config.clone(), params, &self.threads);
        let budget = Budget::trained(&self.config);
        Some(evaluate(&model, &mut self.evaluator, &self.data.holdout, &budget, &self.threads))
    }

    /// The puzzles of the next step and the states they go on from: those that stay, then new ones.
    fn batch(&mut self) -> (Vec<Puzzle>, States) {
        let _timed = phase(Phase::Data);
        let size = self.config.batch_size;
        // Where no puzzle stays, an epoch is one pass over all of them, and its last batch what is left.
        let left = self.samples_per_epoch().saturating_sub(self.progress.step_in_epoch * size);
        let size = if self.config.segments == 1 { size.min(left) } else { size };
        let (mut puzzles, mut states) = std::mem::take(&mut self.staying);
        let first = self.progress.drawn;
        let new = first..first + (size - puzzles.len()) as u64;
        puzzles.extend(new.clone().map(|number| self.puzzle(number)));
        states.append(States::initial(&self.config, self.config.seed, new.clone()));
        self.progress.drawn = new.end;
        self.progress.staying.extend(new.map(|number| (number, 0)));
        (puzzles, states)
    }

    /// The puzzle of a draw: passes over all puzzles follow each other, each in an order of its own.
    fn puzzle(&mut self, number: u64) -> Puzzle {
        let (c, samples) = (&self.config, self.samples_per_epoch());
        let (pass, position) = (number / samples as u64, number % samples as u64);
        if self.order.0 != pass {
            self.order = (pass, EpochOrder::new(samples, c.seed, pass));
        }
        let mut puzzle = self.data.train[self.order.1.index(position as usize) % self.data.train.len()];
        let mut rng = ChaCha8Rng::seed_from_u64(c.seed);
        rng.set_stream(pass << 32 | position);
        if c.augment {
            let symmetry = Symmetry::random(&mut rng);
            puzzle =
                Puzzle { quiz: symmetry.apply(&puzzle.quiz), solution: symmetry.apply(&puzzle.solution) };
        }
        if c.reveal > 0.0 && rng.random_bool(c.reveal) {
            puzzle.quiz = reveal_some(&puzzle, &mut rng);
        }
        puzzle
    }

    /// After a step: puzzles whose board is not right yet stay, for as many segments as the configuration has.
    fn keep_unsolved(&mut self, mut puzzles: Vec<Puzzle>, mut states: States) {
        let segments = self.config.segments;
        let mut staying = std::mem::take(&mut self.progress.staying);
        staying.iter_mut().for_each(|(_, behind)| *behind += 1);
        let stays: Vec<bool> = staying
            .iter()
            .zip(&states.solved)
            .map(|((_, behind), solved)| !solved && *behind < segments)
            .collect();
        states.retain(|i| stays[i]);
        let mut stay = stays.iter();
        puzzles.retain(|_| *stay.next().unwrap_or(&false));
        let mut stay = stays.iter();
        staying.retain(|_| *stay.next().unwrap_or(&false));
        self.progress.staying = staying;
        self.staying = (puzzles, states);
    }

    /// The states of the puzzles that stay, as a checkpoint holds them.
    fn carry(&self) -> Option<StateDict> {
        let states = &self.staying.1;
        let shape = [self.progress.staying.len(), self.config.state.tokens(), self.config.hidden_dim];
        let tensor = |data: &Vec<f32>| Tensor { shape: shape.to_vec(), data: data.clone() };
        (shape[0] > 0).then(|| vec![("y".into(), tensor(&states.y)), ("z".into(), tensor(&states.z))])
    }

    fn count(&mut self, tally: &Tally, grad_norm: f64, seconds: f64) {
        let progress = &mut self.progress;
        progress.step_in_epoch += 1;
        progress.loss_sum += tally.loss_sum;
        progress.cells[0] += tally.cells[0];
        progress.cells[1] += tally.cells[1];
        progress.grad_norms[0] += grad_norm;
        progress.grad_norms[1] = progress.grad_norms[1].max(grad_norm);
        progress.recent_norms.push(grad_norm);
        if progress.recent_norms.len() > RECENT_NORMS {
            progress.recent_norms.remove(0);
        }
        progress.elapsed_s += seconds;
        progress.epoch_s += seconds;
    }

    fn divergence(&self, loss: f64, grad_norm: f64) -> TrainError {
        TrainError::Diverged {
            epoch: self.progress.epoch + 1,
            step: self.optimizer.step + 1,
            loss,
            grad_norm,
            latent_gate: self.model.params().latent_gate.data[0],
            output_gate: self.model.params().output_gate.data[0],
            recent_norms: self.progress.recent_norms.clone(),
        }
    }
}

/// The states that a checkpoint holds for the puzzles that stay in the batch.
fn carried_states(
    config: &TrmConfig,
    carry: Option<&StateDict>,
    puzzles: usize,
) -> Result<States, TrainError> {
    let values = puzzles * config.state.tokens() * config.hidden_dim;
    let find = |name: &str| {
        let tensor = carry.and_then(|carry| carry.iter().find(|(n, _)| n == name));
        let data = tensor.map_or(Vec::new(), |(_, tensor)| tensor.data.clone());
        let message = "its carried states do not fit the puzzles in its batch";
        (data.len() == values).then_some(data).ok_or_else(|| TrainError::NotResumable(message.into()))
    };
    Ok(States { y: find("y")?, z: find("z")?, solved: vec![false; puzzles] })
}

/// The quiz with each blank filled in with one probability, itself drawn evenly from 0 to 1.
fn reveal_some(puzzle: &Puzzle, rng: &mut ChaCha8Rng) -> Grid {
    let share = rng.random_range(0.0..1.0);
    let mut cells = *puzzle.quiz.cells();
    for (cell, digit) in cells.iter_mut().zip(puzzle.solution.cells()) {
        if *cell == 0 && rng.random_bool(share) {
            *cell = *digit;
        }
    }
    Grid::from_cells(cells).expect("digits of two grids")
}

/// Puts a data set aside for training, validation and the final evaluation, as `config` says.
pub fn split_data(config: &TrmConfig, dataset: Dataset) -> TrainingData {
    let mut puzzles = dataset.puzzles;
    let holdout = puzzles.split_off(puzzles.len() - config.holdout_rows.min(puzzles.len()));
    puzzles.truncate(config.max_samples);
    let (train, validation) = crate::data::split(puzzles, config.val_fraction, config.seed);
    TrainingData { train, validation, holdout }
}
