//! One pass over a batch: loss, accuracy and gradients, split over worker threads without depending on them.
//!
//! Puzzles are cut into shards of a fixed size, which are taken through the recursion independently. The gradient of a
//! weight is one sum over (outer cycle from last to first, shard, inner cycle, row), cut by rows of the weight.

use super::block::BlockTape;
use super::params::Params;
use super::recursion::Model;
use super::shard::{Recording, Shard};
use super::{CELLS, DIGITS};
use crate::config::{State, TrmConfig};
use crate::ops::{
    Dropout, Format, add_scaled, cross_entropy, linear_backward_bias, linear_backward_weight,
    one_hot_linear_backward_weight, transpose,
};
use crate::parallel::Threads;
use crate::tensor::Tensor;

/// Rows of a weight matrix whose gradient is one piece of work.
const PANEL_ROWS: usize = 512;

/// Puzzles and what is to be predicted for them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Digits of the puzzles, 0 where blank, `[rows, 81]`.
    pub cells: Vec<u8>,
    /// Digits of the solutions less one, `[rows, 81]`.
    pub targets: Vec<u8>,
}

impl Batch {
    /// Number of puzzles.
    pub fn rows(&self) -> usize {
        self.cells.len() / CELLS
    }
}

/// Loss and hits, summed over puzzles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sum of the cross-entropies of all cells.
    pub loss_sum: f64,
    /// Cells, and those predicted right.
    pub cells: [u64; 2],
    /// Blank cells, and those predicted right.
    pub blanks: [u64; 2],
    /// Boards, and those predicted right in every cell.
    pub boards: [u64; 2],
}

impl Tally {
    /// Mean cross-entropy of a cell.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.cells[0].max(1) as f64
    }

    /// Share of the cells that are right, givens included.
    pub fn cell_accuracy(&self) -> f64 {
        share(self.cells)
    }

    /// Share of the blank cells that are right.
    pub fn blank_accuracy(&self) -> f64 {
        share(self.blanks)
    }

    /// Share of the boards that are right in every cell.
    pub fn board_accuracy(&self) -> f64 {
        share(self.boards)
    }

    /// Adds the counts of other puzzles.
    pub fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        let pairs = [
            (&mut self.cells, other.cells),
            (&mut self.blanks, other.blanks),
            (&mut self.boards, other.boards),
        ];
        for (mine, theirs) in pairs {
            mine[0] += theirs[0];
            mine[1] += theirs[1];
        }
    }

    /// Counts one shard.
    ///
    /// # Shapes
    /// `logits` is `[rows, 81, 9]`, `cells` and `targets` are `[rows, 81]`.
    pub fn of(logits: &[f32], cells: &[u8], targets: &[u8]) -> Self {
        let mut tally = Self { loss_sum: cross_entropy(logits, DIGITS, targets), ..Self::default() };
        for ((logits, cells), targets) in logits
            .chunks_exact(CELLS * DIGITS)
            .zip(cells.chunks_exact(CELLS))
            .zip(targets.chunks_exact(CELLS))
        {
            let mut wrong = 0;
            for ((row, cell), target) in logits.chunks_exact(DIGITS).zip(cells).zip(targets) {
                let right = u64::from(argmax(row) == usize::from(*target));
                let blank = u64::from(*cell == 0);
                wrong += 1 - right;
                tally.blanks[0] += blank;
                tally.blanks[1] += blank * right;
            }
            tally.cells[0] += CELLS as u64;
            tally.cells[1] += CELLS as u64 - wrong;
            tally.boards[0] += 1;
            tally.boards[1] += u64::from(wrong == 0);
        }
        tally
    }
}

fn share([all, right]: [u64; 2]) -> f64 {
    if all == 0 { 0.0 } else { right as f64 / all as f64 }
}

/// Index of the largest value; the first of several.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

/// Buffers for passes over batches, reused from step to step.
#[derive(Debug)]
pub struct Engine {
    shards: Vec<Shard>,
    recording: Recording,
    d_input_t: Vec<f32>,
}

impl Engine {
    /// An engine that records for training, or only predicts.
    pub fn new(recording: Recording) -> Self {
        Self { shards: Vec::new(), recording, d_input_t: Vec::new() }
    }

    /// Most puzzles whose activations are in memory at the same time.
    pub fn puzzles_at_once(config: &TrmConfig) -> usize {
        match config.state {
            State::Board => 256,
            State::Cell => 64,
            State::Candidate => 16,
        }
    }

    /// Logits of every puzzle, `[rows, 81, 9]`, dropout off.
    pub fn predict(&mut self, model: &Model, cells: &[u8], threads: &Threads) -> Vec<f32> {
        let mut logits = Vec::with_capacity(cells.len() * DIGITS);
        let at_once = Self::puzzles_at_once(model.config());
        for (wave, cells) in cells.chunks(at_once * CELLS).enumerate() {
            let first_sample = wave * at_once;
            let shards = load(&mut self.shards, model, self.recording, cells, first_sample);
            threads.for_each(shards.iter_mut().collect(), |s: &mut Shard| model.forward(s, &Dropout::OFF));
            shards.iter().for_each(|s| logits.extend_from_slice(&s.logits));
        }
        logits
    }

    /// Adds the gradient of the mean cell-wise cross-entropy to `grads`; returns loss and hits of the forward pass.
    pub fn forward_backward(
        &mut self,
        model: &Model,
        batch: &Batch,
        dropout: &Dropout,
        grads: &mut Params,
        threads: &Threads,
    ) -> Tally {
        let config = model.config();
        let supervised = (0..config.h_cycles).filter(|h| model.is_supervised(*h)).count();
        let scale = 1.0 / (supervised * batch.targets.len()) as f32;
        let mut tally = Tally::default();
        self.d_input_t.clear();
        self.d_input_t.resize(grads.input_proj.weight.data.len(), 0.0);
        let at_once = Self::puzzles_at_once(config);
        let wave_cells = at_once * CELLS;
        let waves = batch.cells.chunks(wave_cells).zip(batch.targets.chunks(wave_cells));
        for (wave, (cells, targets)) in waves.enumerate() {
            let shards = load(&mut self.shards, model, self.recording, cells, wave * at_once);
            let mut targets = targets;
            for s in shards.iter_mut() {
                let (own, rest) = targets.split_at(s.cells.len());
                (s.targets, targets) = (own.to_vec(), rest);
            }
            let mut tallies = vec![Tally::default(); shards.len()];
            let work = shards.iter_mut().zip(&mut tallies).collect();
            threads.for_each(work, |(s, tally): (&mut Shard, &mut Tally)| {
                model.forward(s, dropout);
                *tally = Tally::of(&s.logits, &s.cells, &s.targets);
                model.begin_backward(s);
            });
            tallies.iter().for_each(|t| tally.add(t));
            for h in (0..config.h_cycles).rev() {
                threads.for_each(shards.iter_mut().collect(), |s: &mut Shard| {
                    model.cycle_backward(s, h, dropout, scale);
                });
                weight_gradients(grads, shards, model, h, threads);
            }
            row_sum_gradients(grads, shards);
            let channels = config.state.channels();
            input_gradients(&mut self.d_input_t, &mut grads.input_proj.bias.data, channels, shards, threads);
        }
        let [d, inputs] = [config.hidden_dim, config.state.widths()[0]];
        let mut d_input = vec![0.0; self.d_input_t.len()];
        transpose([inputs, d], &self.d_input_t, &mut d_input);
        add_scaled(&mut grads.input_proj.weight.data, 1.0, &d_input);
        tally
    }
}

/// Puzzles of a shard when there are `puzzles` in all: many rows share each weight that is read, few leave work for every
/// thread, and the activations of one application should stay in the cache. It must not depend on the number of threads.
fn shard_puzzles(config: &TrmConfig, puzzles: usize) -> usize {
    match config.state {
        State::Board => (puzzles / 4).clamp(32, 128),
        State::Cell => 4,
        State::Candidate => 1,
    }
}

/// Puts up to [`Engine::puzzles_at_once`] puzzles into shards.
fn load<'a>(
    shards: &'a mut Vec<Shard>,
    model: &Model,
    recording: Recording,
    cells: &[u8],
    first_sample: usize,
) -> &'a mut [Shard] {
    let config = model.config();
    let shard_puzzles = shard_puzzles(config, cells.len() / CELLS);
    let parts = cells.chunks(shard_puzzles * CELLS);
    let count = parts.len();
    for (i, part) in parts.enumerate() {
        let puzzles = part.len() / CELLS;
        if shards.get(i).is_none_or(|s| s.capacity() < puzzles) {
            shards.truncate(i);
            shards.push(Shard::new(config, puzzles, recording));
        }
        shards[i].load(config, part, first_sample + i * shard_puzzles);
    }
    &mut shards[..count]
}

/// `d_weight[first_output ..] += d_output^T input`, summed over shards in order.
struct Panel<'a> {
    d_weight: &'a mut [f32],
    first_output: usize,
    /// (rows, input, gradient of the output) of each shard.
    sources: Vec<(usize, &'a [f32], &'a [f32])>,
}

fn panels<'a>(weight: &'a mut Tensor, sources: &[(usize, &'a [f32], &'a [f32])], work: &mut Vec<Panel<'a>>) {
    let inputs = weight.shape[1];
    for (i, d_weight) in weight.data.chunks_mut(PANEL_ROWS * inputs).enumerate() {
        work.push(Panel { d_weight, first_output: i * PANEL_ROWS, sources: sources.to_vec() });
    }
}

fn run(work: Vec<Panel>, format: Format, threads: &Threads) {
    threads.for_each(work, |panel: Panel| {
        for (rows, input, d_output) in panel.sources {
            linear_backward_weight(rows, input, d_output, panel.first_output, panel.d_weight, format);
        }
    });
}

fn weight_gradients(grads: &mut Params, shards: &[Shard], model: &Model, h: usize, threads: &Threads) {
    let (l_cycles, format) = (model.config().l_cycles, model.format());
    if model.is_supervised(h) {
        let mut work = Vec::new();
        let sources: Vec<_> =
            shards.iter().map(|s| (s.rows, model.answer_after(s, h), &s.logits[..])).collect();
        panels(&mut grads.output_proj.weight, &sources, &mut work);
        run(work, format.for_outputs(grads.output_proj.bias.data.len()), threads);
        shards.iter().for_each(|s| linear_backward_bias(&s.logits, &mut grads.output_proj.bias.data));
    }
    let mut work = Vec::new();
    let tape_of = |s: &Shard| h % s.tapes.len();
    for (k, block) in grads.latent_layers.iter_mut().enumerate() {
        let tapes = shards.iter().map(|s| (s.rows, l_cycles, &s.tapes[tape_of(s)].latent[k]));
        block_panels(block, tapes, &mut work);
    }
    for (k, block) in grads.output_layers.iter_mut().enumerate() {
        let tapes = shards.iter().map(|s| (s.rows, 1, &s.tapes[tape_of(s)].output[k]));
        block_panels(block, tapes, &mut work);
    }
    run(work, format, threads);
}

fn block_panels<'a>(
    grads: &'a mut super::BlockParams,
    tapes: impl Iterator<Item = (usize, usize, &'a BlockTape)> + Clone,
    work: &mut Vec<Panel<'a>>,
) {
    let [wide, narrow] = grads.expand.weight.shape[..] else { unreachable!("weights are matrices") };
    let whole = tapes.clone().map(|(rows, applications, tape)| (rows * applications, tape));
    let expand: Vec<_> = whole
        .clone()
        .map(|(rows, tape)| (rows, &tape.normed[..rows * narrow], &tape.slope[..rows * wide]))
        .collect();
    let contract: Vec<_> = whole
        .map(|(rows, tape)| (rows, &tape.activation[..rows * wide], &tape.branch[..rows * narrow]))
        .collect();
    panels(&mut grads.expand.weight, &expand, work);
    panels(&mut grads.contract.weight, &contract, work);
    let kinds = grads.mix.len();
    for (k, mix) in grads.mix.iter_mut().enumerate() {
        let mut sources = Vec::new();
        for (rows, applications, tape) in tapes.clone() {
            let rows = rows / 9;
            for place in (0..applications).map(|slot| (slot * kinds + k) * rows) {
                let part = |width: usize| place * width..(place + rows) * width;
                sources.push((rows, &tape.means[part(narrow)], &tape.messages[part(wide)]));
            }
        }
        panels(mix, &sources, work);
    }
}

/// Adds what each shard summed over its rows, shard by shard, and clears it.
fn row_sum_gradients(grads: &mut Params, shards: &mut [Shard]) {
    let take = |target: &mut [f32], values: &mut [f32]| {
        add_scaled(target, 1.0, values);
        values.fill(0.0);
    };
    for s in shards {
        take(&mut grads.latent_gate.data, std::slice::from_mut(&mut s.sums.latent_gate));
        take(&mut grads.output_gate.data, std::slice::from_mut(&mut s.sums.output_gate));
        let blocks = grads.latent_layers.iter_mut().chain(&mut grads.output_layers);
        for (block, sums) in blocks.zip(s.sums.latent.iter_mut().chain(&mut s.sums.output)) {
            take(&mut block.norm.weight.data, &mut sums.gain);
            take(&mut block.norm.bias.data, &mut sums.norm_bias);
            take(&mut block.expand.bias.data, &mut sums.expand_bias);
            take(&mut block.contract.bias.data, &mut sums.contract_bias);
        }
    }
}

fn input_gradients(
    d_weight_t: &mut [f32],
    d_bias: &mut [f32],
    channels: usize,
    shards: &[Shard],
    threads: &Threads,
) {
    for s in shards {
        linear_backward_bias(&s.d_x_emb, d_bias);
    }
    let d = d_bias.len();
    let groups = d_weight_t.len() / (channels * d);
    let work = d_weight_t.chunks_mut(channels * d).enumerate().collect();
    threads.for_each(work, |(group, d_weight_t): (usize, &mut [f32])| {
        for s in shards {
            one_hot_linear_backward_weight(&s.inputs, [groups, group], &s.d_x_emb, d, d_weight_t);
        }
    });
}
