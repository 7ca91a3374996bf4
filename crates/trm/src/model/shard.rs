//! The puzzles of a batch that one worker takes through the whole recursion, with everything it needs to do so.

use super::block::scratch;
use super::block_tape::BlockRowSums;
use super::cycle_tape::{CycleTape, Recording};
use super::feedback::Feedback;
use super::open::OpenRows;
use crate::config::{Mixing, NetworkConfig, State};
use crate::ops::{RowsFormat, unit_rows};
use crate::sudoku::{CELLS, DIGITS, Units};
use std::sync::Arc;

/// Gradients that a shard sums over its own rows.
#[derive(Clone, Debug)]
pub struct RowSums {
    /// d loss / d alpha, where it acts on the result of R: `[1]` or `[d]`
    pub latent_gate: Vec<f32>,
    /// d loss / d beta, where it acts on the result of O
    pub output_gate: Vec<f32>,
    /// Gain and bias of the normalised answer, `[d]` each.
    pub output_norm: [Vec<f32>; 2],
    /// One for each block of R.
    pub latent: Vec<BlockRowSums>,
    /// One for each block of O.
    pub output: Vec<BlockRowSums>,
}

/// States, tape and scratch of some puzzles. A puzzle has `tokens` rows: vectors of the state.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Puzzles in use.
    pub puzzles: usize,
    /// Rows in use: `puzzles * tokens`.
    pub rows: usize,
    /// Number in the batch of the first puzzle: what dropout masks go by.
    pub first_sample: usize,
    /// Digits of the puzzles, `[puzzles, 81]`.
    pub cells: Vec<u8>,
    /// Which channel of each group of the one-hot input is 1: `[puzzles, 81]`, or `[puzzles, 729]` for candidates.
    pub inputs: Vec<u8>,
    /// Digits that the recursion takes for true, `[puzzles, 81]`, 0 for none.
    pub assumed: Vec<u8>,
    /// What the rows form units of.
    pub units: Arc<[Units]>,
    /// Which candidates they stand for, if only open ones have a row.
    pub open: Option<OpenRows>,
    /// Digits of the solutions less one, `[puzzles, 81]`, for the backward pass.
    pub targets: Vec<u8>,
    /// `[rows, d]`
    pub x_emb: Vec<f32>,
    /// The answer as it goes back into the state, if it does.
    pub feedback: Option<Feedback>,
    /// The answer state, `[rows, d]`.
    pub y: Vec<f32>,
    /// The latent state, `[rows, d]`.
    pub z: Vec<f32>,
    /// What W_out is multiplied by: y, or LayerNorm(y), `[rows, d]`.
    pub answer: Vec<f32>,
    /// Before gain and bias, if it is normalised, `[rows, d]`; and `1 / std`, `[rows]`.
    pub answer_norm: (Vec<f32>, Vec<f32>),
    /// The logits, `[puzzles, 81, 9]`; the backward pass makes it its gradient.
    pub logits: Vec<f32>,
    /// Gradient of the penalties, of the same shape, if there are any.
    pub d_constraint: Vec<f32>,
    /// (y, z) at the start of each outer cycle, when recording.
    pub starts: Vec<(Vec<f32>, Vec<f32>)>,
    /// One outer cycle each, as many as [`Recording`] has room for.
    pub tapes: Vec<CycleTape>,
    /// The running block input h, `[rows, d]`; in the backward pass its gradient.
    pub h: Vec<f32>,
    /// What a pass through a block works in.
    pub scratch: Vec<f32>,
    /// Gradients of the states, `[rows, d]`.
    pub d_x_emb: Vec<f32>,
    /// `[rows, d]`
    pub d_y: Vec<f32>,
    /// `[rows, d]`
    pub d_z: Vec<f32>,
    /// Gradients summed over the rows.
    pub sums: RowSums,
    recording: Recording,
    /// Of what the tapes keep for products.
    format: RowsFormat,
    capacity: usize,
}

impl Shard {
    /// Room for some puzzles.
    pub fn new(config: &NetworkConfig, format: RowsFormat, puzzles: usize, recording: Recording) -> Self {
        let d = config.hidden_dim;
        let rows = puzzles * config.state.tokens();
        let (cycles, _) = recording.room(config);
        let zeros = |values: usize| vec![0.0; values];
        let training = recording != Recording::Nothing;
        let state = || zeros(rows * d);
        let gradient = || zeros(if training { rows * d } else { 0 });
        let starts = if training { config.h_cycles } else { 0 };
        Self {
            puzzles,
            rows,
            first_sample: 0,
            cells: Vec::with_capacity(puzzles * CELLS),
            inputs: Vec::new(),
            assumed: Vec::new(),
            units: config.units(),
            open: None,
            targets: Vec::new(),
            x_emb: state(),
            feedback: Feedback::new(config, rows, recording),
            y: state(),
            z: state(),
            answer: state(),
            answer_norm: if config.output_norm { (state(), zeros(rows)) } else { Default::default() },
            logits: zeros(puzzles * CELLS * DIGITS),
            d_constraint: Vec::new(),
            starts: (0..starts).map(|_| (state(), state())).collect(),
            tapes: (0..cycles).map(|_| CycleTape::new(config, format, rows, recording)).collect(),
            h: state(),
            scratch: zeros(scratch(config, format, rows)),
            d_x_emb: gradient(),
            d_y: gradient(),
            d_z: gradient(),
            sums: RowSums {
                latent_gate: zeros(config.gates.width(d)),
                output_gate: zeros(config.gates.width(d)),
                output_norm: [zeros(d), zeros(d)],
                latent: vec![BlockRowSums::new(config); config.l_layers],
                output: vec![BlockRowSums::new(config); config.output_layers],
            },
            recording,
            format,
            capacity: puzzles,
        }
    }

    /// f32 values that [`Self::new`] allocates for each puzzle.
    pub fn values_per_puzzle(config: &NetworkConfig, recording: Recording) -> usize {
        let d = config.hidden_dim;
        let (cycles, _) = recording.room(config);
        let (format, training) = (config.precision.format(), recording != Recording::Nothing);
        let (tokens, logits) = (config.state.tokens(), CELLS * DIGITS);
        let states = 5 * d + usize::from(config.output_norm) * (d + 1);
        // As of many rows: a single one takes more.
        const MANY: usize = 64;
        let scratch = scratch(config, format, MANY) / MANY;
        let states = states + scratch + Feedback::values_per_row(config, recording);
        let row = states + cycles * CycleTape::values_per_row(config, format, recording);
        if !training {
            return logits + tokens * row;
        }
        let gradients = 3 * d;
        logits + tokens * (row + 2 * d * config.h_cycles + gradients)
    }

    /// Most puzzles that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What this shard keeps for a backward pass.
    pub fn recording(&self) -> Recording {
        self.recording
    }

    /// Takes other puzzles, at most as many as there is room for: `cells` is `[puzzles, 81]`. Their states are zero.
    pub fn load(&mut self, config: &NetworkConfig, cells: &[u8], first_sample: usize) {
        self.puzzles = cells.len() / CELLS;
        self.first_sample = first_sample;
        self.set_cells(config, cells);
        self.y.fill(0.0);
        self.z.fill(0.0);
    }

    /// Makes as many rows of everything as the puzzles have.
    fn resize(&mut self, config: &NetworkConfig) {
        let values = self.rows * config.hidden_dim;
        let states = [&mut self.x_emb, &mut self.y, &mut self.z, &mut self.h, &mut self.answer];
        let gradients = [&mut self.d_x_emb, &mut self.d_y, &mut self.d_z];
        states.into_iter().for_each(|state| state.resize(values, 0.0));
        self.feedback.iter_mut().for_each(|feedback| feedback.resize(self.rows, config.hidden_dim));
        if config.output_norm {
            self.answer_norm.0.resize(values, 0.0);
            self.answer_norm.1.resize(self.rows, 0.0);
        }
        self.logits.resize(self.puzzles * CELLS * DIGITS, 0.0);
        self.scratch.resize(scratch(config, self.format, self.puzzles * config.state.tokens()), 0.0);
        if self.recording != Recording::Nothing {
            gradients.into_iter().for_each(|gradient| gradient.resize(values, 0.0));
            for (y, z) in &mut self.starts {
                y.resize(values, 0.0);
                z.resize(values, 0.0);
            }
        }
    }

    /// Changes the givens of the puzzles in use, `[puzzles, 81]`, and leaves the states as they are, unless rows come to stand
    /// for something else; what went back of an answer to other givens, and what was assumed, is forgotten.
    pub fn set_cells(&mut self, config: &NetworkConfig, cells: &[u8]) {
        self.cells.clear();
        self.cells.extend_from_slice(cells);
        self.feedback.iter_mut().for_each(Feedback::restart);
        self.assumed.clear();
        self.assumed.resize(cells.len(), 0);
        self.inputs.clear();
        self.rows = self.puzzles * config.state.tokens();
        match config.state {
            State::Board | State::Cell => self.inputs.extend_from_slice(cells),
            State::Candidate => {
                self.inputs.extend(cells.iter().flat_map(|cell| (1..=9).map(|digit| channel(*cell, digit))));
            }
            State::OpenCandidate => {
                let (open, units) = OpenRows::of(cells);
                self.rows = open.len();
                self.inputs.resize(self.rows, 0);
                self.open = Some(open);
                if config.mixing == Mixing::UnitMean {
                    self.units = units;
                }
            }
        }
        self.resize(config);
    }

    /// Takes these digits for true from the next [`super::Model::embed`] on: `[puzzles, 81]`.
    pub fn assume(&mut self, assumed: &[u8]) {
        self.assumed.copy_from_slice(assumed);
        if let Some(open) = &self.open {
            open.mark(assumed, &mut self.inputs);
        }
    }

    /// Units of each kind that the rows form.
    pub fn unit_rows(&self) -> usize {
        unit_rows(&self.units, self.rows)
    }

    /// What was read off the rows, `[rows, logits of a row]`; after the backward pass its gradient.
    pub fn read_out(&self) -> &[f32] {
        self.open.as_ref().map_or(&self.logits, |open| &open.logits)
    }
}

/// What a cell says of a candidate: 0 nothing, 1 that another digit is given, 2 that this one is.
fn channel(cell: u8, digit: u8) -> u8 {
    match cell {
        0 => 0,
        given if given == digit => 2,
        _ => 1,
    }
}
