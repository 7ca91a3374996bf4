//! One pass over a batch: loss, accuracy and gradients, split over worker threads without depending on them.
//!
//! Puzzles are shared out to lanes, which take theirs wave by wave; a wave is cut into shards, which go through the
//! recursion independently. The gradient of a weight is one sum over (lane, wave, outer cycle from last to first, shard,
//! inner cycle, row). None of these sizes depends on the number of threads.
//!
//! The weights of a board model are large, and worth one long sum over many puzzles: it has one lane, whose waves put
//! all threads to work. The weights of the other models are small, but a puzzle has many rows: they have many lanes, a
//! thread works on one at a time, and a wave is one shard, whose activations stay near.
//!
//! Prediction sums nothing over puzzles. It has no lanes: its parts are one shard each.

use super::backward::LossScale;
use super::batch::{Batch, Tally, right_boards};
use super::budget::{Budget, Prediction};
use super::hypotheses::random;
use super::observer::{Observer, Watch};
use super::recording::Recording;
use super::recursion::Model;
use super::shard::Shard;
use super::shard_recursion::ShardRecursion;
use super::sizes::Sizes;
use super::states::{States, StatesMut};
use super::trajectory::answer;
use crate::network::{Weights, product_gradients};
use crate::ops::{Dropout, add_scaled, linear_backward_bias, transpose};
use crate::parallel::Threads;
use crate::sudoku::CELLS;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

/// Passes over batches, with buffers that are reused from step to step.
#[derive(Debug)]
pub struct Engine {
    recording: Recording,
    waves: Waves,
    lanes: Vec<Lane>,
    /// Gradients of each lane but the first, which adds to the caller's.
    lane_grads: Vec<Weights>,
}

/// Shards of as many waves as are computed at once, which the lanes hand to each other.
#[derive(Debug, Default)]
struct Waves(Mutex<Vec<Vec<Shard>>>);

impl Waves {
    /// Shards for a wave. What they hold does not matter: each wave loads its own puzzles.
    fn take(&self) -> Vec<Shard> {
        self.idle().pop().unwrap_or_default()
    }

    fn put_back(&self, shards: Vec<Shard>) {
        self.idle().push(shards);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<Shard>>> {
        self.0.lock().expect("no worker has panicked")
    }
}

#[derive(Debug, Default)]
struct Lane {
    /// Gradient of W_in, transposed.
    d_input_t: Vec<f32>,
    tally: Tally,
}

/// What the parts of a forward and backward pass have in common.
struct Pass<'a> {
    model: &'a Model,
    waves: &'a Waves,
    recording: Recording,
    dropout: &'a Dropout,
    /// What the random numbers of hypotheses go by, if any are made.
    hypotheses: Option<u64>,
    scale: LossScale,
}

/// Settings of one optimiser step: its number, dropout, and the weights of the penalties.
#[derive(Clone, Debug)]
pub struct TrainingStep {
    /// Number of the step in the run, from 0. It decides the random numbers of hypotheses.
    pub number: u64,
    /// Whether hypotheses are made, if the configuration has any.
    pub hypotheses: bool,
    /// The masks of dropout.
    pub dropout: Dropout,
    /// Weights of the penalties for rows, columns and boxes.
    pub constraint_weights: [f32; 3],
}

impl Engine {
    /// An engine that records for training, or only predicts.
    pub fn new(recording: Recording) -> Self {
        Self { recording, waves: Waves::default(), lanes: Vec::new(), lane_grads: Vec::new() }
    }

    /// Logits of every puzzle, `[rows, 81, 9]`, after the cycles that the model was trained for.
    pub fn logits(&mut self, model: &Model, cells: &[u8], threads: &Threads) -> Vec<f32> {
        let predictions = self.predict(model, cells, &Budget::trained(model.config()), threads);
        predictions.into_iter().flat_map(|prediction| prediction.logits).collect()
    }

    /// Predicts every puzzle within `budget`, dropout off.
    pub fn predict(
        &mut self,
        model: &Model,
        cells: &[u8],
        budget: &Budget,
        threads: &Threads,
    ) -> Vec<Prediction> {
        let part = Sizes::prediction_part(model.config(), cells.len() / CELLS, threads.count());
        self.think(model, cells, budget, part, std::iter::repeat_with(Watch::off), threads)
    }

    /// Predicts as [`Self::predict`] does, with the same result, and shows each puzzle's progress to an observer of
    /// its own.
    pub fn predict_observed<O: Observer>(
        &mut self,
        model: &Model,
        cells: &[u8],
        budget: &Budget,
        observers: &mut [O],
        threads: &Threads,
    ) -> Vec<Prediction> {
        let watches = observers.iter_mut().map(|observer| Watch::by(observer));
        self.think(model, cells, budget, 1, watches, threads)
    }

    /// Predicts in parts of `part` puzzles, each with a watch.
    fn think<'a>(
        &self,
        model: &Model,
        cells: &[u8],
        budget: &Budget,
        part: usize,
        watches: impl Iterator<Item = Watch<'a>>,
        threads: &Threads,
    ) -> Vec<Prediction> {
        let mut predictions = vec![Prediction::default(); cells.len() / CELLS];
        let parts = cells.chunks(part * CELLS).zip(predictions.chunks_mut(part)).zip(watches).enumerate();
        for_each_lane(parts.collect(), threads, |(i, ((cells, predictions), watch)), threads| {
            let mut shards = self.waves.take();
            load(&mut shards, model, self.recording, cells, [part, i * part]);
            let mut recursion = ShardRecursion::new(model, shards.swap_remove(0));
            // On a worker of the set even if it is the only part: a single row shares its columns among them.
            threads.for_each(
                vec![(&mut recursion, predictions, watch)],
                |(recursion, predictions, watch)| {
                    answer(budget, recursion, predictions, watch);
                },
            );
            shards.push(recursion.shard);
            self.waves.put_back(shards);
        });
        predictions
    }

    /// Adds to `grads` the gradient of the loss: the mean cross-entropy of the cells, and the mean penalties of the
    /// boards times their weights. Returns loss and hits of the forward pass, which starts from `states`.
    pub fn forward_backward(
        &mut self,
        model: &Model,
        batch: &Batch,
        states: &mut States,
        step: &TrainingStep,
        grads: &mut Weights,
        threads: &Threads,
    ) -> Tally {
        let config = model.config();
        let sizes = Sizes::of(config);
        let supervised = (0..config.h_cycles).filter(|h| model.is_supervised(*h)).count();
        let scale = LossScale {
            cross_entropy: 1.0 / (supervised * batch.targets.len()) as f32,
            constraints: step.constraint_weights.map(|weight| weight / (supervised * batch.puzzles()) as f32),
        };
        let hypotheses = (config.hypotheses && step.hypotheses).then_some(step.number);
        let pass = Pass {
            model,
            waves: &self.waves,
            recording: self.recording,
            dropout: &step.dropout,
            hypotheses,
            scale,
        };
        self.lanes.resize_with(sizes.lanes, Lane::default);
        self.lane_grads.resize_with(sizes.lanes - 1, || Weights::zeros(grads.layout()));

        let part = sizes.lane_puzzles(batch.puzzles());
        let parts = batch.cells.chunks(part * CELLS).zip(batch.targets.chunks(part * CELLS));
        let parts = parts.zip(states.parts_mut(part)).enumerate();
        let used = parts.len();
        let targets = std::iter::once(&mut *grads).chain(&mut self.lane_grads);
        let work = self.lanes.iter_mut().zip(targets).zip(parts).collect();
        for_each_lane(work, threads, |((lane, grads), (i, ((cells, targets), states))), threads| {
            if i > 0 {
                grads.clear(threads);
            }
            lane.forward_backward(&pass, [cells, targets], states, i * part, grads, threads);
        });
        let mut tally = Tally::default();
        self.lanes[..used].iter().for_each(|lane| tally.add(&lane.tally));
        self.lane_grads[..used.saturating_sub(1)].iter().for_each(|own| grads.add(own));
        tally
    }
}

/// Runs the lanes side by side, a thread each; a single one gets all the threads to itself.
fn for_each_lane<T: Send>(mut lanes: Vec<T>, threads: &Threads, work: impl Fn(T, &Threads) + Send + Sync) {
    if lanes.len() == 1 {
        return lanes.drain(..).for_each(|lane| work(lane, threads));
    }
    let alone = Threads::new(1);
    threads.for_each(lanes, |lane| work(lane, &alone));
}

impl Lane {
    /// All waves of the lane's puzzles, the first of which is number `first_sample` of the batch.
    fn forward_backward(
        &mut self,
        pass: &Pass,
        [cells, targets]: [&[u8]; 2],
        mut states: StatesMut,
        first_sample: usize,
        grads: &mut Weights,
        threads: &Threads,
    ) {
        let config = pass.model.config();
        let wave = Sizes::of(config).wave;
        self.tally = Tally::default();
        self.d_input_t.clear();
        let input = pass.model.network.embedding.weight();
        self.d_input_t.resize(grads[input].data.len(), 0.0);
        for (i, wave_of) in cells.chunks(wave * CELLS).zip(targets.chunks(wave * CELLS)).enumerate() {
            let (own, rest) = states.split_at(wave_of.0.len() / CELLS);
            states = rest;
            self.wave(pass, wave_of, own, first_sample + i * wave, grads, threads);
        }
        let [d, inputs] = [config.hidden_dim, config.state.widths()[0]];
        let mut d_input = vec![0.0; self.d_input_t.len()];
        transpose([inputs, d], &self.d_input_t, &mut d_input);
        add_scaled(&mut grads[input].data, 1.0, &d_input);
    }

    fn wave(
        &mut self,
        pass: &Pass,
        (cells, mut targets): (&[u8], &[u8]),
        mut states: StatesMut,
        first_sample: usize,
        grads: &mut Weights,
        threads: &Threads,
    ) {
        let Pass { model, waves, recording, dropout, hypotheses, scale } = *pass;
        let config = model.config();
        let puzzles = Sizes::of(config).shard_puzzles(cells.len() / CELLS);
        let mut room = waves.take();
        let shards = load(&mut room, model, recording, cells, [puzzles, first_sample]);
        let mut tallies = vec![Tally::default(); shards.len()];
        let mut work = Vec::with_capacity(shards.len());
        for (s, tally) in shards.iter_mut().zip(&mut tallies) {
            let (own, rest) = targets.split_at(s.cells.len());
            (s.targets, targets) = (own.to_vec(), rest);
            let (own, rest) = states.split_at(s.puzzles);
            states = rest;
            work.push((s, tally, own));
        }
        threads.for_each(work, |(s, tally, mut states): (&mut Shard, &mut Tally, StatesMut)| {
            states.load(s);
            model.forward(s, dropout);
            *tally = Tally::of(&s.logits, &s.cells, &s.targets);
            states.store(s, right_boards(&s.logits, &s.targets));
            if let Some(number) = hypotheses {
                let streams = (s.first_sample..).take(s.puzzles).map(|sample| number << 32 | sample as u64);
                let mut random: Vec<_> = streams.map(|stream| random(config.seed, stream)).collect();
                states.revise(s, &mut random);
            }
            model.begin_backward(s);
        });
        tallies.iter().for_each(|tally| self.tally.add(tally));
        for cycles in cycles_at_once(model, recording) {
            threads.for_each(shards.iter_mut().collect(), |s: &mut Shard| {
                cycles.clone().rev().for_each(|h| model.cycle_backward(s, h, dropout, scale));
            });
            matrix_gradients(grads, shards, model, cycles, threads);
        }
        shards.iter_mut().for_each(|s| s.sums.move_to(grads));
        let inputs: Vec<_> = shards.iter().map(|s| (&s.inputs[..], &s.d_x_emb[..])).collect();
        model.network.embedding.backward(&inputs, &mut self.d_input_t, grads, threads);
        waves.put_back(room);
    }
}

/// Adds what outer cycles give, the last first, to the gradients of the matrices and, of one that is read out, of b_out.
fn matrix_gradients(
    grads: &mut Weights,
    shards: &[Shard],
    model: &Model,
    cycles: Range<usize>,
    threads: &Threads,
) {
    if model.is_read_out(cycles.end - 1) {
        let bias = model.network.read_out.projection().bias;
        let read_out = shards.iter().map(|s| s.read_out_operands(model));
        product_gradients(grads, read_out, model.format(), threads);
        shards.iter().for_each(|s| linear_backward_bias(s.read_out(), &mut grads[bias].data));
    }
    let of_cycle = |h: usize| shards.iter().flat_map(move |s| s.operands(model, h));
    product_gradients(grads, cycles.rev().flat_map(of_cycle), model.format(), threads);
}

/// The outer cycles, the last first, cut into those that the weights' gradients are summed over in one go: all of them if
/// everything is recorded and only the last answer is read out. The sums have one order however they are cut.
fn cycles_at_once(model: &Model, recording: Recording) -> impl Iterator<Item = Range<usize>> {
    let cycles = model.config().h_cycles;
    let is_one = recording == Recording::Everything && !(0..cycles - 1).any(|h| model.is_read_out(h));
    let at_once = if is_one { cycles } else { 1 };
    (0..cycles).step_by(at_once).rev().map(move |h| h..h + at_once)
}

/// Puts the puzzles of a wave, the first of which is number `first_sample` of the batch, into shards of so many.
fn load<'a>(
    shards: &'a mut Vec<Shard>,
    model: &Model,
    recording: Recording,
    cells: &[u8],
    [shard_puzzles, first_sample]: [usize; 2],
) -> &'a mut [Shard] {
    let parts = cells.chunks(shard_puzzles * CELLS);
    let count = parts.len();
    for (i, part) in parts.enumerate() {
        let puzzles = part.len() / CELLS;
        if shards.get(i).is_none_or(|s| s.capacity() < puzzles) {
            shards.truncate(i);
            shards.push(model.shard(puzzles, recording));
        }
        shards[i].load(model, part, first_sample + i * shard_puzzles);
    }
    &mut shards[..count]
}
