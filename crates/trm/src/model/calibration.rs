//! What the matrices of a model are multiplied by, over some puzzles: what quantising goes by.

use super::{Model, Recording};
use crate::network::Operands;
use crate::ops::{Dropout, Format};
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

/// Solves puzzles, `[puzzles, 81]`, within the cycles of training. Returns statistics of the inputs of each matrix
/// that states are multiplied by, one entry for each tensor of the layout. The inputs of F, of which there are nine,
/// are not looked at.
pub fn input_statistics(model: &Model, cells: &[u8], threads: &Threads) -> Vec<InputStatistics> {
    let puzzles = (ROWS / model.config().state.tokens()).max(1);
    let parts: Vec<_> = cells.chunks(puzzles * CELLS).collect();
    let mut found = vec![Vec::new(); parts.len()];
    threads.for_each(parts.into_iter().zip(&mut found).collect(), |(cells, found)| {
        *found = of_puzzles(model, cells);
    });
    let mut total = vec![InputStatistics::default(); model.weights().tensors().len()];
    for part in found {
        total.iter_mut().zip(&part).for_each(|(total, part)| total.merge(part));
    }
    total
}

fn of_puzzles(model: &Model, cells: &[u8]) -> Vec<InputStatistics> {
    let layout = model.weights().layout();
    let mut shard = model.shard_of(Format::F32, cells.len() / CELLS, Recording::Cycle);
    shard.load(model, cells, 0);
    let mut all = vec![InputStatistics::default(); layout.entries().len()];
    let mut see = |operands: Operands| {
        let inputs = layout[operands.weight].shape[1];
        all[operands.weight.index()].add(inputs, operands.input.plain());
    };
    model.forward_observed(&mut shard, &Dropout::OFF, |s, h| {
        s.operands(model, h).into_iter().for_each(&mut see);
    });
    see(shard.read_out_operands(model));
    all
}
