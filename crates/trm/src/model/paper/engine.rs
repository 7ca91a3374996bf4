//! A segment of many puzzles: each by itself, shared out to lanes that do not depend on the number of threads.
//!
//! A lane adds up the gradients of its puzzles in order, and the lanes' sums are added in order.

use super::board::Board;
use super::recursion::{HALTING_WEIGHT, Model};
use super::{BLANK, Config, VOCABULARY};
use crate::model::argmax;
use crate::network::Weights;
use crate::ops::{binary_cross_entropy, stablemax_cross_entropy};
use crate::parallel::Threads;
use crate::sudoku::CELLS;

/// Lanes that the puzzles of a batch are shared out to.
const LANES: usize = 16;

/// The states of some puzzles between segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Carry {
    /// The answers, `[puzzles, tokens, d]`.
    pub z_h: Vec<f32>,
    /// The latent hypotheses, `[puzzles, tokens, d]`.
    pub z_l: Vec<f32>,
}

impl Carry {
    /// The states that every answer starts from.
    pub fn new(model: &Model, puzzles: usize) -> Self {
        let repeated = |row: &[f32]| row.repeat(puzzles * model.config().tokens());
        let (network, weights) = (model.network(), model.weights());
        Self { z_h: repeated(&weights[network.h_init].data), z_l: repeated(&weights[network.l_init].data) }
    }

    /// Starts the answer of one puzzle again.
    pub fn reset(&mut self, model: &Model, puzzle: usize) {
        let start = Self::new(model, 1);
        let own = puzzle * start.z_h.len()..(puzzle + 1) * start.z_h.len();
        self.z_h[own.clone()].copy_from_slice(&start.z_h);
        self.z_l[own].copy_from_slice(&start.z_l);
    }
}

/// Logits and halting values that are read off the answers after a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Readout {
    /// Logits, `[puzzles, 81, 11]`, one for each token that a cell can be.
    pub logits: Vec<f32>,
    /// (q_halt, q_continue) of each puzzle.
    pub q: Vec<[f32; 2]>,
}

/// Losses and hits of a segment, summed over puzzles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Mean stablemax cross-entropy of the cells of a puzzle.
    pub cross_entropy: f64,
    /// Binary cross-entropy of q_halt against "every cell is right".
    pub halting: f64,
    /// Cells right.
    pub cells_right: usize,
    /// Whether each board is right in every cell.
    pub right: Vec<bool>,
}

impl Outcome {
    /// The loss that is differentiated: cross-entropy plus the weighted loss of halting.
    pub fn loss(&self) -> f64 {
        self.cross_entropy + f64::from(HALTING_WEIGHT) * self.halting
    }

    fn of(b: &Board, targets: &[u8]) -> Self {
        let rows = b.logits.chunks_exact(VOCABULARY).zip(targets);
        let cells_right = rows.filter(|(row, target)| argmax(row) == usize::from(**target)).count();
        let right = cells_right == CELLS;
        Self {
            cross_entropy: stablemax_cross_entropy(&b.logits, VOCABULARY, targets) / CELLS as f64,
            halting: binary_cross_entropy(b.q[0], right),
            cells_right,
            right: vec![right],
        }
    }

    fn add(&mut self, other: &Self) {
        self.cross_entropy += other.cross_entropy;
        self.halting += other.halting;
        self.cells_right += other.cells_right;
        self.right.extend(&other.right);
    }
}

/// Runs segments, with buffers that are reused.
#[derive(Debug, Default)]
pub struct Engine {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    board: Board,
    /// When gradients are asked for.
    grads: Option<Weights>,
    outcome: Outcome,
}

impl Lane {
    fn new(model: &Model, recording: bool) -> Self {
        let grads = recording.then(|| Weights::zeros(model.weights().layout()));
        Self { board: model.board(recording), grads, outcome: Outcome::default() }
    }
}

/// Some puzzles of a batch and where their results go.
struct Part<'a> {
    cells: &'a [u8],
    z_h: &'a mut [f32],
    z_l: &'a mut [f32],
    logits: &'a mut [f32],
    q: &'a mut [[f32; 2]],
}

impl Readout {
    fn new(puzzles: usize) -> Self {
        Self { logits: vec![0.0; puzzles * CELLS * VOCABULARY], q: vec![[0.0; 2]; puzzles] }
    }

    /// Cuts a batch into parts of at most `puzzles` puzzles.
    fn parts<'a>(
        &'a mut self,
        cells: &'a [u8],
        carry: &'a mut Carry,
        config: &Config,
        puzzles: usize,
    ) -> impl Iterator<Item = Part<'a>> {
        let state = puzzles * config.state_len();
        let states = carry.z_h.chunks_mut(state).zip(carry.z_l.chunks_mut(state));
        let results = self.logits.chunks_mut(puzzles * CELLS * VOCABULARY).zip(self.q.chunks_mut(puzzles));
        let parts = cells.chunks(puzzles * CELLS).zip(states).zip(results);
        parts.map(|((cells, (z_h, z_l)), (logits, q))| Part { cells, z_h, z_l, logits, q })
    }
}

impl Engine {
    /// Lanes that `puzzles` puzzles are shared out to, each with gradients and activations of its own.
    pub fn most_lanes(puzzles: usize) -> usize {
        LANES.min(puzzles)
    }

    /// Runs one segment of every puzzle, from the states in `carry` to new ones.
    ///
    /// # Shapes
    /// `cells` is `[puzzles, 81]`, digits of the puzzles, 0 where blank.
    pub fn segment(&mut self, model: &Model, cells: &[u8], carry: &mut Carry, threads: &Threads) -> Readout {
        let mut readout = Readout::new(cells.len() / CELLS);
        let part = readout.q.len().div_ceil(LANES).max(1);
        let parts: Vec<Part> = readout.parts(cells, carry, model.config(), part).collect();
        self.fit(model, parts.len(), false);
        threads.for_each(self.lanes.iter_mut().zip(parts).collect(), |(lane, part): (&mut Lane, Part)| {
            lane.run(model, part, |_, _| {});
        });
        readout
    }

    /// Runs one segment of every puzzle, from the states in `carry` to new ones, and adds the gradient of `scale`
    /// times the sum of the puzzles' losses to `grads`.
    ///
    /// # Shapes
    /// `cells` is `[puzzles, 81]`, digits of the puzzles, 0 where blank; `targets` is `[puzzles, 81]`, digits of the
    /// solutions less one.
    pub fn segment_with_gradients(
        &mut self,
        model: &Model,
        [cells, targets]: [&[u8]; 2],
        carry: &mut Carry,
        scale: f32,
        grads: &mut Weights,
        threads: &Threads,
    ) -> (Readout, Outcome) {
        let targets: Vec<u8> = targets.iter().map(|target| BLANK + 1 + target).collect();
        let mut readout = Readout::new(cells.len() / CELLS);
        let part = readout.q.len().div_ceil(LANES).max(1);
        let parts: Vec<Part> = readout.parts(cells, carry, model.config(), part).collect();
        let used = parts.len();
        self.fit(model, used, true);
        let work = self.lanes.iter_mut().zip(parts.into_iter().zip(targets.chunks(part * CELLS)));
        threads.for_each(work.collect(), |(lane, (part, targets)): (&mut Lane, (Part, &[u8]))| {
            lane.run_with_gradients(model, part, targets, scale);
        });
        let mut outcome = Outcome::default();
        for lane in &self.lanes[..used] {
            outcome.add(&lane.outcome);
            lane.grads.iter().for_each(|own| grads.add(own));
        }
        (readout, outcome)
    }

    fn fit(&mut self, model: &Model, lanes: usize, recording: bool) {
        if recording && self.lanes.iter().any(|lane| lane.grads.is_none()) {
            self.lanes.clear();
        }
        while self.lanes.len() < lanes {
            self.lanes.push(Lane::new(model, recording));
        }
    }
}

impl Lane {
    /// A segment of each puzzle; `after` sees the number of the puzzle and its board before the new states are taken.
    fn run(&mut self, model: &Model, part: Part, mut after: impl FnMut(usize, &mut Board)) {
        let b = &mut self.board;
        let state = model.config().state_len();
        for (i, cells) in part.cells.chunks_exact(CELLS).enumerate() {
            let own = i * state..(i + 1) * state;
            let [z_h, z_l] = [&mut part.z_h[own.clone()], &mut part.z_l[own]];
            b.z_h.copy_from_slice(z_h);
            b.z_l.copy_from_slice(z_l);
            model.embed(b, cells);
            model.segment(b);
            z_h.copy_from_slice(&b.z_h);
            z_l.copy_from_slice(&b.z_l);
            let logits = b.logits.len();
            part.logits[i * logits..(i + 1) * logits].copy_from_slice(&b.logits);
            part.q[i] = b.q;
            after(i, b);
        }
    }

    fn run_with_gradients(&mut self, model: &Model, part: Part, targets: &[u8], scale: f32) {
        let zeros = || Weights::zeros(model.weights().layout());
        let mut grads = self.grads.take().unwrap_or_else(zeros);
        let mut outcome = Outcome::default();
        grads.clear(&Threads::new(1));
        self.run(model, part, |i, b| {
            let targets = &targets[i * CELLS..(i + 1) * CELLS];
            let own = Outcome::of(b, targets);
            outcome.add(&own);
            model.segment_backward(b, targets, own.right[0], scale, &mut grads);
        });
        (self.grads, self.outcome) = (Some(grads), outcome);
    }
}
