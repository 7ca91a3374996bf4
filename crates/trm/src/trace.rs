//! How an answer was refined: the board after every outer cycle and the size of every update.

use crate::model::{Budget, Model, Recording, States, random};
use crate::ops::Dropout;
use crate::solve::{Answer, Givens};
use crate::sudoku::{CELLS, DIGITS, Grid};
use serde::Serialize;

/// The answer after one outer cycle, and what led to it.
#[derive(Clone, Debug, Serialize)]
pub struct CycleTrace {
    /// Outer cycle, from 1.
    pub cycle: usize,
    /// The board read off at this point, 81 digits.
    pub board: String,
    /// Cells whose digit differs from the cycle before; from the puzzle for the first.
    pub changed: Vec<usize>,
    /// Cells in conflict.
    pub conflicts: Vec<usize>,
    /// Whether the board is a solution.
    pub solved: bool,
    /// Mean over the blank cells of the largest probability.
    pub mean_confidence: f32,
    /// Mean over the blank cells of the entropy of the prediction, in bits; at most log2 9 = 3.17.
    pub mean_entropy_bits: f32,
    /// `|z_new - z_old|`, root mean square over the d values, of each inner refinement.
    pub latent_updates: Vec<f32>,
    /// `|y_new - y_old|`, root mean square over the d values.
    pub output_update: f32,
}

/// Solves one puzzle and reads the answer off after every outer cycle.
pub fn trace(model: &Model, puzzle: &Grid, givens: Givens) -> Vec<CycleTrace> {
    let config = model.config();
    let mut shard = model.shard(1, Recording::Nothing);
    shard.load(model, puzzle.cells(), 0);
    States::initial(config, config.seed, [0]).parts_mut(1).for_each(|states| states.load(&mut shard));
    model.embed(&mut shard);
    let mut hypotheses = [random(config.seed, 0)];
    let mut before = *puzzle.cells();
    let mut cycles = Vec::with_capacity(config.h_cycles);
    for h in 0..Budget::trained(config).steps {
        let mut latent_updates = Vec::with_capacity(config.l_cycles);
        for l in 0..config.l_cycles {
            let z = shard.z.clone();
            model.refine_latent(&mut shard, h, l, &Dropout::OFF);
            latent_updates.push(root_mean_square_change(&z, &shard.z));
        }
        let y = shard.y.clone();
        model.refine_output(&mut shard, h, &Dropout::OFF);
        model.read_out(&mut shard);
        let output_update = root_mean_square_change(&y, &shard.y);
        let read = CycleTrace::read(h + 1, puzzle, &before, &shard.logits, givens);
        before = read.1;
        cycles.push(CycleTrace { latent_updates, output_update, ..read.0 });
        // A model that thinks for as long as it takes is done with its solution.
        if config.segments > 1 && cycles[h].solved {
            break;
        }
        if (h + 1) % config.h_cycles == 0 {
            model.revise_hypotheses(&mut shard, &mut hypotheses);
        }
    }
    cycles
}

impl CycleTrace {
    /// What the logits of a cycle say, without the sizes of its updates, and its board; `before` is the board before it.
    pub fn read(
        cycle: usize,
        puzzle: &Grid,
        before: &[u8; CELLS],
        logits: &[f32],
        givens: Givens,
    ) -> (Self, [u8; CELLS]) {
        let answer = Answer::read(puzzle, logits, givens);
        let board = *answer.board.cells();
        let blanks = (0..CELLS).filter(|i| puzzle.cells()[*i] == 0);
        let certainty: Vec<(f32, f32)> = blanks.map(|i| certainty(&answer.probabilities[i])).collect();
        let mean = |values: &dyn Fn(&(f32, f32)) -> f32| {
            certainty.iter().map(values).sum::<f32>() / certainty.len().max(1) as f32
        };
        let trace = Self {
            cycle,
            board: answer.board.to_line(),
            changed: (0..CELLS).filter(|i| before[*i] != board[*i]).collect(),
            conflicts: answer.conflicts,
            solved: answer.solved,
            mean_confidence: mean(&|c| c.0),
            mean_entropy_bits: mean(&|c| c.1),
            latent_updates: Vec::new(),
            output_update: 0.0,
        };
        (trace, board)
    }
}

/// (largest probability, entropy in bits)
fn certainty(probabilities: &[f32; DIGITS]) -> (f32, f32) {
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    let entropy = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum();
    (largest, entropy)
}

fn root_mean_square_change(before: &[f32], after: &[f32]) -> f32 {
    let squares: f32 = before.iter().zip(after).map(|(b, a)| (a - b) * (a - b)).sum();
    (squares / before.len() as f32).sqrt()
}
