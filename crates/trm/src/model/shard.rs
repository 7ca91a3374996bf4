//! The puzzles of a batch that one worker takes through the whole recursion, with everything it needs to do so.

use super::open::OpenRows;
use super::recording::{CycleTape, Recording};
use super::{Model, Network};
use crate::config::{Mixing, NetworkConfig, State};
use crate::layers::{Answers, ReadOutTape};
use crate::network::{Layout, Operands, Room, RowSums};
use crate::ops::{Format, unit_rows};
use crate::sudoku::{CELLS, DIGITS, Units};
use std::sync::Arc;

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
    /// The kinds of units that the rows form.
    pub units: Arc<[Units]>,
    /// The candidates that the rows stand for, if only open candidates have a row.
    pub open: Option<OpenRows>,
    /// Digits of the solutions less one, `[puzzles, 81]`, for the backward pass.
    pub targets: Vec<u8>,
    /// `[rows, d]`
    pub x_emb: Vec<f32>,
    /// Answers that went back into the state; nothing if the network has no feedback.
    pub answers: Option<Answers>,
    /// The answer state, `[rows, d]`.
    pub y: Vec<f32>,
    /// The latent state, `[rows, d]`.
    pub z: Vec<f32>,
    /// The values that reading off the answer keeps for the backward pass.
    pub answer: ReadOutTape,
    /// The logits, `[puzzles, 81, 9]`; the backward pass replaces them by their gradient.
    pub logits: Vec<f32>,
    /// Gradient of the penalties, `[puzzles, 81, 9]`; empty until a backward pass has penalties.
    pub d_constraint: Vec<f32>,
    /// (y, z) at the start of each outer cycle, when recording.
    pub starts: Vec<(Vec<f32>, Vec<f32>)>,
    /// Tapes of outer cycles, as many as [`Recording`] has room for.
    pub tapes: Vec<CycleTape>,
    /// The running block input h, `[rows, d]`; in the backward pass the gradient of h.
    pub h: Vec<f32>,
    /// Scratch space of a pass through a block.
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
    /// Number format of the rows that the tapes keep for products.
    format: Format,
    capacity: usize,
}

impl Shard {
    /// Room for some puzzles, made or counted by `room`; rows that products read are rounded to `format`.
    pub fn new(
        config: &NetworkConfig,
        (network, layout): (&Network, &Layout),
        format: Format,
        puzzles: usize,
        recording: Recording,
        room: &mut Room,
    ) -> Self {
        let (d, rows) = (config.hidden_dim, puzzles * config.state.tokens());
        let training = recording != Recording::Nothing;
        let state = |room: &mut Room| room.floats(rows * d);
        let gradient = |room: &mut Room| room.floats(if training { rows * d } else { 0 });
        let cycles = training.then_some(config.h_cycles);
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
            x_emb: state(room),
            answers: config.feedback.then(|| Answers::new(rows, d, cycles, room)),
            y: state(room),
            z: state(room),
            answer: ReadOutTape::new(&network.read_out, rows, room),
            logits: room.floats(puzzles * CELLS * DIGITS),
            d_constraint: Vec::new(),
            starts: room.times(cycles.unwrap_or(0), |room| (state(room), state(room))),
            tapes: room.times(recording.cycles(config), |room| {
                CycleTape::new((network, config), format, rows, recording, room)
            }),
            h: state(room),
            scratch: room.floats(network.scratch(&config.units(), format, rows)),
            d_x_emb: gradient(room),
            d_y: gradient(room),
            d_z: gradient(room),
            sums: if training { RowSums::new(layout, room) } else { RowSums::default() },
            recording,
            format,
            capacity: puzzles,
        }
    }

    /// Most puzzles that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The recording of this shard: what it keeps for a backward pass.
    pub fn recording(&self) -> Recording {
        self.recording
    }

    /// Loads other puzzles, at most as many as there is room for, and sets their states to zero. `cells` is
    /// `[puzzles, 81]`.
    pub fn load(&mut self, model: &Model, cells: &[u8], first_sample: usize) {
        self.puzzles = cells.len() / CELLS;
        self.first_sample = first_sample;
        self.set_cells(model, cells);
        self.y.fill(0.0);
        self.z.fill(0.0);
    }

    /// Makes as many rows of everything as the puzzles have.
    fn resize(&mut self, Model { config, network, .. }: &Model) {
        let d = config.hidden_dim;
        let states = [&mut self.x_emb, &mut self.y, &mut self.z, &mut self.h];
        states.into_iter().for_each(|state| state.resize(self.rows * d, 0.0));
        self.answers.iter_mut().for_each(|answers| answers.resize(self.rows, d));
        self.answer.resize(&network.read_out, self.rows);
        self.logits.resize(self.puzzles * CELLS * DIGITS, 0.0);
        let most_rows = self.puzzles * config.state.tokens();
        self.scratch.resize(network.scratch(&config.units(), self.format, most_rows), 0.0);
        if self.recording == Recording::Nothing {
            return;
        }
        let starts = self.starts.iter_mut().flat_map(|(y, z)| [y, z]);
        let kept = starts.chain([&mut self.d_x_emb, &mut self.d_y, &mut self.d_z]);
        kept.for_each(|state| state.resize(self.rows * d, 0.0));
    }

    /// Changes the givens of the puzzles in use, `[puzzles, 81]`. The states stay as they are, unless rows come to
    /// stand for other candidates. Hypotheses, and the feedback of answers to the givens before, are forgotten.
    pub fn set_cells(&mut self, model: &Model, cells: &[u8]) {
        let config = &model.config;
        self.cells.clear();
        self.cells.extend_from_slice(cells);
        self.answers.iter_mut().for_each(Answers::restart);
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
        self.resize(model);
    }

    /// Takes these digits for true from the next [`super::Model::embed`] on: `[puzzles, 81]`.
    pub fn assume(&mut self, assumed: &[u8]) {
        self.assumed.copy_from_slice(assumed);
        if let Some(open) = &self.open {
            open.mark(assumed, &mut self.inputs);
        }
    }

    /// Inputs of the matrices of both stacks in outer cycle h, with the gradients of their outputs. There are none if
    /// the tapes do not keep them.
    pub fn operands<'a>(&'a self, model: &Model, h: usize) -> Vec<Operands<'a>> {
        let sizes = [self.rows, unit_rows(&self.units, self.rows)];
        let (tape, network) = (&self.tapes[h % self.tapes.len()], &model.network);
        let latent = network.latent.operands(&tape.latent.stack, sizes, model.config.l_cycles);
        latent.chain(network.output.operands(&tape.output.stack, sizes, 1)).collect()
    }

    /// Input of W_out in the newest answer, with the gradient of its output.
    pub fn read_out_operands<'a>(&'a self, model: &Model) -> Operands<'a> {
        model.network.read_out.operands(&self.answer, self.read_out())
    }

    /// The values read off the rows, `[rows, logits of a row]`; after the backward pass their gradient.
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
