//! What the matrices of a model are multiplied by, over some puzzles: what quantising goes by.

use super::block_tape::BlockTape;
use super::cycle_tape::Recording;
use super::recursion::Model;
use super::shard::Shard;
use crate::ops::{Dropout, RowsFormat};
use crate::parallel::Threads;
use crate::sudoku::CELLS;

/// Rows of states that are in memory for each thread.
const ROWS: usize = 64;

/// The inputs of one matrix.
#[derive(Clone, Debug, Default)]
pub struct InputStatistics {
    /// Vectors seen.
    vectors: u64,
    /// Sum of the squares of each input.
    squares: Vec<f64>,
    /// Largest magnitude.
    pub largest: f32,
}

impl InputStatistics {
    /// Mean square of each input.
    pub fn mean_squares(&self) -> Vec<f32> {
        self.squares.iter().map(|sum| (sum / self.vectors.max(1) as f64) as f32).collect()
    }

    fn add(&mut self, inputs: usize, vectors: &[f32]) {
        self.squares.resize(inputs, 0.0);
        for vector in vectors.chunks_exact(inputs) {
            self.vectors += 1;
            for (sum, v) in self.squares.iter_mut().zip(vector) {
                *sum += f64::from(v * v);
                self.largest = self.largest.max(v.abs());
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.vectors += other.vectors;
        self.largest = self.largest.max(other.largest);
        self.squares.resize(other.squares.len(), 0.0);
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, more)| *sum += more);
    }
}

/// Solves puzzles, `[puzzles, 81]`, within the cycles of training, and tells the inputs of each of
/// [`super::Params::matrices`].
pub fn input_statistics(model: &Model, cells: &[u8], threads: &Threads) -> Vec<InputStatistics> {
    let puzzles = (ROWS / model.config().state.tokens()).max(1);
    let parts: Vec<_> = cells.chunks(puzzles * CELLS).collect();
    let mut found = vec![Vec::new(); parts.len()];
    threads.for_each(parts.into_iter().zip(&mut found).collect(), |(cells, found)| {
        *found = of_puzzles(model, cells);
    });
    let mut total = vec![InputStatistics::default(); model.params().matrices().len()];
    for part in found {
        total.iter_mut().zip(&part).for_each(|(total, part)| total.merge(part));
    }
    total
}

fn of_puzzles(model: &Model, cells: &[u8]) -> Vec<InputStatistics> {
    let (config, params) = (model.config(), model.params());
    let mut shard = Shard::new(config, RowsFormat::F32, cells.len() / CELLS, Recording::Cycle);
    shard.load(config, cells, 0);
    let shapes: Vec<usize> = params.matrices().iter().map(|matrix| matrix.shape[1]).collect();
    let mut all = vec![InputStatistics::default(); shapes.len()];
    let first = usize::from(params.feedback.is_some());
    model.forward_observed(&mut shard, &Dropout::new(0.0, 0, 0), |s, _| {
        let tape = &s.tapes[0];
        let latent = tape.latent.iter().map(|tape| (tape, config.l_cycles));
        let blocks = latent.chain(tape.output.iter().map(|tape| (tape, 1)));
        let inputs = blocks.flat_map(|(tape, applications)| {
            block_inputs(tape, [s.rows, s.unit_rows()], applications, model)
        });
        for ((inputs, width), statistics) in inputs.zip(&shapes[first..]).zip(&mut all[first..]) {
            inputs.into_iter().for_each(|vectors| statistics.add(*width, vectors));
        }
    });
    if let (Some(last), Some(width)) = (all.last_mut(), shapes.last()) {
        last.add(*width, &shard.answer);
    }
    all
}

/// What each matrix of a block was multiplied by, in the order of [`super::Params::matrices`].
fn block_inputs<'a>(
    tape: &'a BlockTape,
    [rows, units]: [usize; 2],
    applications: usize,
    model: &Model,
) -> Vec<Vec<&'a [f32]>> {
    let config = model.config();
    let d = config.hidden_dim;
    let mut inputs = Vec::new();
    if let (Some(tape), Some(mixer)) = (&tape.mixer, &model.mixer) {
        let vectors = mixer.vectors(d, rows);
        inputs.extend([&tape.input, &tape.left].map(|rows| vec![rows.plain(applications, vectors)]));
    }
    inputs.push(vec![tape.normed.plain(applications, rows)]);
    let kinds = config.units().len();
    for kind in 0..kinds {
        let place = |slot: usize| (slot * kinds + kind) * units * d;
        inputs
            .push((0..applications).map(|slot| &tape.means[place(slot)..place(slot) + units * d]).collect());
    }
    inputs.push(vec![tape.activation.plain(applications, rows)]);
    inputs
}
