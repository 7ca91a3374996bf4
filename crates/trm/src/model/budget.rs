//! How long the recursion may think about a puzzle, and what came of it.
//!
//! A board that obeys the rules and agrees with the givens is the solution, if there is only one: so a puzzle is left as
//! soon as its answer is such a board. Until then the recursion goes on, and if the first trajectory leads nowhere it
//! starts again and commits itself: after every `H_cycles` outer cycles it takes one more likely digit for given. A digit
//! that was wrongly taken for given spoils its own trajectory only, and what is called solved is always checked.

use super::recursion::Model;
use super::shard::Shard;
use super::states::States;
use super::{CELLS, DIGITS, argmax};
use crate::config::TrmConfig;
use crate::ops::Dropout;
use crate::solve::softmax;
use crate::sudoku::Grid;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A cell whose likeliest digit has at least this probability is settled: taking it for given would say nothing new.
const SETTLED: f32 = 0.98;

/// Power of the probabilities that a digit is drawn by: likely ones are right more often than they are likely.
const SHARPNESS: f32 = 3.0;

/// How long the recursion may think about a puzzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most outer cycles of one trajectory.
    pub steps: usize,
    /// Further trajectories, each with other random numbers, for a puzzle that the first one leaves unsolved.
    pub restarts: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// The answer to one puzzle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// `[81, 9]`: those of a solved board, else those that the first trajectory ended in.
    pub logits: Vec<f32>,
    /// Outer cycles, of all trajectories together.
    pub steps: usize,
    /// Trajectories behind the first.
    pub restarts: usize,
    /// Whether the board, with the givens as given, obeys the rules.
    pub solved: bool,
}

impl Budget {
    /// What the model was trained for: one trajectory of `H_cycles * segments` outer cycles.
    pub fn trained(config: &TrmConfig) -> Self {
        Self { steps: config.h_cycles * config.segments, restarts: 0, seed: config.seed }
    }

    /// Lets the recursion run on a loaded shard, a prediction for each of its puzzles.
    pub(super) fn spend(&self, model: &Model, s: &mut Shard, predictions: &mut [Prediction]) {
        let givens = s.cells.clone();
        for restart in 0..=self.restarts {
            if restart > 0 {
                s.set_cells(model.config(), &givens);
            }
            self.trajectory(model, s, &givens, restart, predictions);
            if predictions.iter().all(|p| p.solved) {
                return;
            }
        }
    }

    fn trajectory(
        &self,
        model: &Model,
        s: &mut Shard,
        givens: &[u8],
        restart: usize,
        predictions: &mut [Prediction],
    ) {
        let config = model.config();
        let streams = (s.first_sample..).take(s.puzzles).map(|p| (restart as u64) << 32 | p as u64);
        let mut states = States::initial(config, self.seed, streams.clone());
        states.parts_mut(s.puzzles).for_each(|states| states.load(s));
        let mut rngs: Vec<ChaCha8Rng> = streams.map(|stream| commitment_rng(self.seed, stream)).collect();
        model.embed(s);
        for step in 1..=self.steps {
            model.cycle(s, 0, &Dropout::OFF);
            model.read_out(s);
            let boards = s.logits.chunks(CELLS * DIGITS).zip(givens.chunks(CELLS));
            for (prediction, (logits, givens)) in
                predictions.iter_mut().zip(boards).filter(|(p, _)| !p.solved)
            {
                prediction.solved = is_solution(givens, logits);
                prediction.steps += 1;
                prediction.restarts = restart;
                if prediction.solved || (restart == 0 && step == self.steps) {
                    prediction.logits = logits.to_vec();
                }
            }
            if predictions.iter().all(|p| p.solved) {
                return;
            }
            if restart > 0 && step % config.h_cycles == 0 {
                let mut cells = s.cells.clone();
                let boards = cells.chunks_mut(CELLS).zip(s.logits.chunks(CELLS * DIGITS));
                for ((cells, logits), rng) in boards.zip(&mut rngs) {
                    commit(cells, logits, rng);
                }
                s.set_cells(config, &cells);
                model.embed(s);
            }
        }
    }
}

/// The random numbers by which one trajectory of a puzzle chooses what to take for given.
fn commitment_rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    rng.set_stream(stream);
    rng
}

/// Fills in one cell that is not settled: a digit drawn from all of theirs, with weights `p^SHARPNESS`.
fn commit(cells: &mut [u8], logits: &[f32], rng: &mut ChaCha8Rng) {
    let mut drawn = None;
    let mut heaviest = f32::NEG_INFINITY;
    for (cell, row) in logits.chunks_exact(DIGITS).enumerate().filter(|(cell, _)| cells[*cell] == 0) {
        let probabilities = softmax(row);
        if probabilities[argmax(row)] >= SETTLED {
            continue;
        }
        for (digit, p) in (1..).zip(probabilities) {
            // The largest of all log w + Gumbel noise belongs to each with its share of the weights w.
            let gumbel = -(-rng.random_range(f32::MIN_POSITIVE..1.0).ln()).ln();
            let weight = SHARPNESS * p.max(f32::MIN_POSITIVE).ln() + gumbel;
            if weight > heaviest {
                (heaviest, drawn) = (weight, Some((cell, digit)));
            }
        }
    }
    if let Some((cell, digit)) = drawn {
        cells[cell] = digit;
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
