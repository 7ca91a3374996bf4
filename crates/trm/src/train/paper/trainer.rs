//! A training run in memory: one step, one validation.

use super::progress::{Place, Progress, Record, StepReport};
use super::{Settings, Training};
use crate::checkpoint::PaperCheckpoint;
use crate::data::EpochOrder;
use crate::evaluate::Evaluation;
use crate::model::paper::{Carry, Engine, Model, Network};
use crate::network::{Role, Weights};
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use crate::sudoku::{Puzzle, Symmetry};
use crate::tensor::Tensor;
use crate::train::optimizer::{AdamWRule, TensorUpdate};
use crate::train::{TrainError, TrainingData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Random streams of the decisions to halt; those of the symmetries are below.
const HALTING_STREAMS: u64 = 1 << 63;

/// A training run in memory.
#[derive(Debug)]
pub struct Trainer {
    data: TrainingData,
    threads: Threads,
    pub(super) model: Model,
    pub(super) exp_avg: Weights,
    pub(super) exp_avg_sq: Weights,
    pub(super) ema: Weights,
    grads: Weights,
    pub(super) carry: Carry,
    /// `[batch_size, 81]` each: puzzles, and solutions less one.
    cells: Vec<u8>,
    targets: Vec<u8>,
    order: (u64, EpochOrder),
    engine: Engine,
    pub(super) progress: Progress,
}

impl Trainer {
    /// A run from the start.
    ///
    /// # Errors
    /// No puzzles.
    pub fn new(settings: Settings, data: TrainingData, threads: Threads) -> Result<Self, TrainError> {
        let weights = Weights::first(&Network::layout(&settings.model), settings.training.seed);
        let empty = Place { puzzle: None, segments: 0, halted: true };
        let progress = Progress {
            places: vec![empty; settings.training.batch_size],
            data_sizes: data.sizes(),
            settings,
            ..Progress::default()
        };
        let zeros = Weights::zeros(weights.layout());
        let sets = [zeros.clone(), zeros, weights.clone()];
        Self::assemble(progress, data, threads, weights, sets, None)
    }

    pub(super) fn assemble(
        progress: Progress,
        data: TrainingData,
        threads: Threads,
        weights: Weights,
        [exp_avg, exp_avg_sq, ema]: [Weights; 3],
        carry: Option<&[Tensor; 2]>,
    ) -> Result<Self, TrainError> {
        if data.train.is_empty() {
            return Err(TrainError::NoData);
        }
        let Settings { model: config, training } = &progress.settings;
        let grads = Weights::zeros(weights.layout());
        let model = Model::new(config.clone(), weights, &threads);
        let batch = training.batch_size;
        let carry = match carry {
            Some([z_h, z_l]) => Carry { z_h: z_h.data.clone(), z_l: z_l.data.clone() },
            None => Carry::new(&model, batch),
        };
        let mut trainer = Self {
            order: (0, EpochOrder::new(data.train.len(), training.seed, 0)),
            data,
            threads,
            exp_avg,
            exp_avg_sq,
            ema,
            grads,
            carry,
            cells: vec![0; batch * CELLS],
            targets: vec![0; batch * CELLS],
            engine: Engine::default(),
            model,
            progress,
        };
        for place in 0..batch {
            if let Some(puzzle) = trainer.progress.places[place].puzzle {
                trainer.load(place, puzzle);
            }
        }
        Ok(trainer)
    }

    /// The run's settings.
    pub fn settings(&self) -> &Settings {
        &self.progress.settings
    }

    /// The run's puzzles.
    pub fn data(&self) -> &TrainingData {
        &self.data
    }

    /// Worker threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// One record for each validation.
    pub fn records(&self) -> &[Record] {
        &self.progress.records
    }

    /// Steps made so far.
    pub fn step_count(&self) -> u64 {
        self.progress.step
    }

    /// Whether all steps are made.
    pub fn is_finished(&self) -> bool {
        self.progress.step >= self.settings().training.steps
    }

    /// Whether it is time for [`Self::validate`].
    pub fn is_to_be_validated(&self) -> bool {
        let step = self.progress.step;
        self.progress.sums.steps > 0
            && (step.is_multiple_of(self.settings().training.eval_every) || self.is_finished())
    }

    /// One segment of every puzzle in the batch, and one update of the weights.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] if the loss is not; the weights are then those before the step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = std::time::Instant::now();
        self.replace_halted();
        let batch = self.progress.places.len();
        self.grads.clear(&self.threads);
        let (readout, outcome) = self.engine.segment_with_gradients(
            &self.model,
            [&self.cells, &self.targets],
            &mut self.carry,
            1.0 / batch as f32,
            &mut self.grads,
            &self.threads,
        );
        let loss = outcome.loss() / batch as f64;
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step: self.progress.step + 1, loss });
        }
        let lr = self.update();
        let q_halt: Vec<f32> = readout.q.iter().map(|q| q[0]).collect();
        let halted = self.halt(&q_halt, &outcome.right);
        let sums = &mut self.progress.sums;
        sums.steps += 1;
        sums.loss += loss;
        sums.cells_right += outcome.cells_right;
        let seconds = started.elapsed().as_secs_f64();
        self.progress.elapsed_s += seconds;
        Ok(StepReport {
            step: self.progress.step,
            loss,
            cell_accuracy: outcome.cells_right as f64 / (batch * CELLS) as f64,
            halted,
            lr,
            segments_per_s: batch as f64 / seconds,
        })
    }

    /// Gives the places of halted puzzles to fresh ones.
    fn replace_halted(&mut self) {
        for place in 0..self.progress.places.len() {
            if self.progress.places[place].halted {
                let puzzle = self.progress.taken;
                self.progress.taken += 1;
                self.progress.places[place] = Place { puzzle: Some(puzzle), segments: 0, halted: false };
                self.load(place, puzzle);
                self.carry.reset(&self.model, place);
            }
        }
    }

    /// Puts the `number`-th puzzle of the run into a place: the next of its epoch's order, under a symmetry of its own.
    fn load(&mut self, place: usize, number: u64) {
        let Training { seed, augment, .. } = self.progress.settings.training;
        let puzzles = self.data.train.len() as u64;
        let epoch = number / puzzles;
        if self.order.0 != epoch {
            self.order = (epoch, EpochOrder::new(puzzles as usize, seed, epoch));
        }
        let Puzzle { mut quiz, mut solution } =
            self.data.train[self.order.1.index((number % puzzles) as usize)];
        if augment {
            let symmetry = Symmetry::random(&mut stream(seed, number));
            (quiz, solution) = (symmetry.apply(&quiz), symmetry.apply(&solution));
        }
        let own = place * CELLS..(place + 1) * CELLS;
        self.cells[own.clone()].copy_from_slice(quiz.cells());
        self.targets[own].iter_mut().zip(solution.cells()).for_each(|(target, digit)| *target = digit - 1);
    }

    /// AdamW on all that is trained; the puzzle embedding moves by the sign of its gradient. Returns the learning rate.
    fn update(&mut self) -> f64 {
        let training = &self.progress.settings.training;
        let lr = training.learning_rate(training.lr, self.progress.step);
        let puzzle_emb_lr = training.learning_rate(training.puzzle_emb_lr, self.progress.step);
        self.progress.step += 1;
        let rule = AdamWRule {
            step: self.progress.step,
            lr,
            clip: 1.0,
            betas: (training.beta1, training.beta2),
            weight_decay: training.weight_decay,
            ema: training.ema,
        };
        // Sudokus have the first puzzle embedding; the others stay.
        let used = self.progress.settings.model.puzzle_emb_ndim;
        let keep = (1.0 - puzzle_emb_lr * training.puzzle_emb_weight_decay) as f32;
        let puzzle_emb = self.model.network().puzzle_emb;
        let Self { exp_avg, exp_avg_sq, ema, grads, threads, .. } = self;
        self.model.update_weights(threads, |weights| {
            let sign = |g: f32| if g == 0.0 { 0.0 } else { g.signum() };
            for (value, g) in weights[puzzle_emb].data.iter_mut().zip(&grads[puzzle_emb].data).take(used) {
                *value = keep * *value - puzzle_emb_lr as f32 * sign(*g);
            }
            ema[puzzle_emb].data.copy_from_slice(&weights[puzzle_emb].data);
            let pairs = weights.iter_mut().zip(ema.tensors_mut()).zip(grads.tensors());
            let moments = exp_avg.tensors_mut().iter_mut().zip(exp_avg_sq.tensors_mut());
            let all = pairs.zip(moments);
            let by_adamw = all.filter(|((((entry, _), _), _), _)| {
                entry.role.is_trained() && entry.role != Role::PuzzleEmbedding
            });
            let tensors = by_adamw.map(|((((_, p), average), g), (m, v))| TensorUpdate {
                is_decayed: true,
                values: &mut p.data,
                gradient: &g.data,
                moments: [&mut m.data, &mut v.data],
                average: Some(&mut average.data),
            });
            rule.update(tensors.collect(), threads);
        });
        lr
    }

    /// Counts a segment of every place and decides which puzzles leave; how many.
    fn halt(&mut self, q_halt: &[f32], right: &[bool]) -> usize {
        let Settings { model: config, training } = &self.progress.settings;
        let most = config.halt_max_steps;
        let mut rng = stream(training.seed, HALTING_STREAMS | self.progress.step);
        let sums = &mut self.progress.sums;
        let mut left = 0;
        for ((place, q), right) in self.progress.places.iter_mut().zip(q_halt).zip(right) {
            place.segments += 1;
            let explores = rng.random_range(0.0..1.0) < training.halt_exploration_prob;
            let least = if explores { rng.random_range(2..=most.max(2)) } else { 0 };
            place.halted = place.segments >= most || (*q > 0.0 && place.segments >= least);
            if place.halted {
                left += 1;
                sums.left_right += usize::from(*right);
                sums.left_segments += place.segments;
            }
        }
        sums.left += left;
        left
    }

    /// Validates the averaged weights and records the steps since the last time.
    pub fn validate(&mut self) -> Record {
        let started = std::time::Instant::now();
        let puzzles = &self.data.validation;
        let validation = (!puzzles.is_empty()).then(|| self.evaluate(&self.averaged_model(), puzzles));
        let progress = &mut self.progress;
        progress.elapsed_s += started.elapsed().as_secs_f64();
        let sums = std::mem::take(&mut progress.sums);
        let share = |part: usize, all: usize| part as f64 / all.max(1) as f64;
        let cells = sums.steps as usize * progress.places.len() * CELLS;
        let train_cell_accuracy = share(sums.cells_right, cells);
        // Boards are what is to be solved; while there are none, cells tell better from worse.
        let accuracy =
            validation.as_ref().map_or(train_cell_accuracy, |v| v.board_accuracy + v.cell_accuracy);
        let is_best = progress.best.is_none_or(|best| accuracy > best);
        if is_best {
            progress.best = Some(accuracy);
        }
        let record = Record {
            step: progress.step,
            train_loss: sums.loss / sums.steps.max(1) as f64,
            train_cell_accuracy,
            train_board_accuracy: share(sums.left_right, sums.left),
            segments: share(sums.left_segments, sums.left),
            val_loss: validation.as_ref().map(|v| v.loss),
            val_cell_accuracy: validation.as_ref().map(|v| v.cell_accuracy),
            val_blank_accuracy: validation.as_ref().map(|v| v.blank_accuracy),
            val_board_accuracy: validation.as_ref().map(|v| v.board_accuracy),
            val_conflicts_per_board: validation.as_ref().map(|v| v.conflicts_per_board),
            elapsed_s: progress.elapsed_s,
            is_best,
        };
        progress.records.push(record.clone());
        record
    }

    /// The model with the averaged weights.
    pub fn averaged_model(&self) -> Model {
        Model::new(self.settings().model.clone(), self.ema.clone(), &self.threads)
    }

    /// The averaged weights and the model's settings, nothing else.
    pub fn production(&self) -> PaperCheckpoint {
        let config = self.settings().model.clone();
        PaperCheckpoint { model: self.ema.state_dict(), config, training: None }
    }

    /// Evaluates a model on the rows that were held out.
    pub fn evaluate_holdout(&self, best: PaperCheckpoint) -> Option<Evaluation> {
        let model = best.into_model(&self.threads);
        let puzzles = &self.data.holdout;
        (!puzzles.is_empty()).then(|| self.evaluate(&model, puzzles))
    }

    fn evaluate(&self, model: &Model, puzzles: &[Puzzle]) -> Evaluation {
        crate::paper::evaluate(model, puzzles, &model.config().budget(), &self.threads)
    }
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
