//! How long the recursion may think about a puzzle, and what came of it.
//!
//! A board that obeys the rules and agrees with the givens is the solution, if there is only one: so a puzzle is left as
//! soon as its answer is such a board. Until then the recursion goes on, starts again from other random states, and at
//! last guesses (search.rs). What is called solved is always checked.

use super::argmax;
use super::hypotheses::random;
use super::recursion::Model;
use super::search::search;
use super::shard::Shard;
use super::states::States;
use crate::config::NetworkConfig;
use crate::ops::Dropout;
use crate::sudoku::{CELLS, DIGITS, Grid};

/// How long the recursion may think about a puzzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most outer cycles of one trajectory.
    pub steps: usize,
    /// Further trajectories for a puzzle that the first one leaves unsolved, each from other random first states.
    pub restarts: usize,
    /// Most digits that are guessed for a puzzle that no trajectory solves.
    pub guesses: usize,
    /// Seed of the random first states.
    pub seed: u64,
}

/// The answer to one puzzle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// `[81, 9]`: those of a solved board, else those that the first trajectory ended in.
    pub logits: Vec<f32>,
    /// Outer cycles, all together.
    pub steps: usize,
    /// Trajectories behind the first.
    pub restarts: usize,
    /// Digits that were guessed, the wrong ones included.
    pub guesses: usize,
    /// Whether the board, with the givens as given, obeys the rules.
    pub solved: bool,
}

impl Budget {
    /// What the model was trained for: one trajectory of `H_cycles * segments` outer cycles.
    pub fn trained(config: &NetworkConfig) -> Self {
        Self { steps: config.h_cycles * config.segments, restarts: 0, guesses: 0, seed: config.seed }
    }

    /// Lets the recursion run on a loaded shard, a prediction for each of its puzzles.
    pub(super) fn spend(&self, model: &Model, s: &mut Shard, predictions: &mut [Prediction]) {
        // Without random first states every trajectory would be the same.
        let restarts = if model.config().init_noise > 0.0 { self.restarts } else { 0 };
        for restart in 0..=restarts {
            self.trajectory(model, s, restart, predictions);
            if predictions.iter().all(|p| p.solved) {
                return;
            }
        }
        let unsolved = predictions.iter_mut().enumerate().filter(|(_, p)| !p.solved && self.guesses > 0);
        for (puzzle, prediction) in unsolved {
            search(model, s, puzzle, self.guesses, prediction);
        }
    }

    fn trajectory(&self, model: &Model, s: &mut Shard, restart: usize, predictions: &mut [Prediction]) {
        let config = model.config();
        let streams = (s.first_sample..).take(s.puzzles).map(|p| (restart as u64) << 32 | p as u64);
        let mut states = States::initial(config, self.seed, streams.clone());
        states.parts_mut(s.puzzles).for_each(|states| states.load(s));
        let mut hypotheses = streams.map(|stream| random(self.seed, stream)).collect::<Vec<_>>();
        model.embed(s);
        for step in 1..=self.steps {
            model.cycle(s, 0, &Dropout::OFF);
            // An answer is read off where it was in training, and at the end.
            if !model.is_read_out((step - 1) % config.h_cycles) && step < self.steps {
                continue;
            }
            model.read_out(s);
            let boards = s.logits.chunks(CELLS * DIGITS).zip(s.cells.chunks(CELLS));
            for (prediction, (logits, givens)) in
                predictions.iter_mut().zip(boards).filter(|(p, _)| !p.solved)
            {
                prediction.solved = is_solution(givens, logits);
                prediction.steps = restart * self.steps + step;
                prediction.restarts = restart;
                if prediction.solved || (restart == 0 && step == self.steps) {
                    prediction.logits = logits.to_vec();
                }
            }
            if predictions.iter().all(|p| p.solved) {
                return;
            }
            if step % config.h_cycles == 0 {
                model.revise_hypotheses(s, &mut hypotheses);
            }
        }
    }
}

/// Whether the likeliest digits of the blanks make, with the givens, a board that obeys the rules.
pub(super) fn is_solution(givens: &[u8], logits: &[f32]) -> bool {
    let mut digits = [0; CELLS];
    for ((digit, given), row) in digits.iter_mut().zip(givens).zip(logits.chunks_exact(DIGITS)) {
        *digit = if *given == 0 { argmax(row) as u8 + 1 } else { *given };
    }
    Grid::from_cells(digits).is_some_and(|board| board.is_solved())
}
