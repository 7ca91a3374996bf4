//! Which puzzle a run sees next, and how it looks: a function of the seed and the number of the draw.

use crate::config::TrmConfig;
use crate::data::EpochOrder;
use crate::sudoku::{Grid, Puzzle, Symmetry};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws puzzles: passes over all of them follow each other, each in an order of its own.
#[derive(Debug)]
pub(super) struct Draw {
    seed: u64,
    augment: bool,
    reveal: f64,
    /// Draws in a pass.
    samples: usize,
    /// The pass that is being drawn from, and its order.
    order: (u64, EpochOrder),
}

impl Draw {
    /// Draws from `puzzles` puzzles.
    pub fn new(config: &TrmConfig, puzzles: usize) -> Self {
        let samples = puzzles * config.augment_copies;
        Self {
            seed: config.seed,
            augment: config.augment,
            reveal: config.reveal,
            samples,
            order: (0, EpochOrder::new(samples, config.seed, 0)),
        }
    }

    /// Draws in a pass: each copy of each puzzle once.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The puzzle of draw `number`, among those of `train` in the pool if there is one.
    pub fn puzzle(&mut self, train: &[Puzzle], pool: Option<&[u32]>, number: u64) -> Puzzle {
        let (pass, position) = (number / self.samples as u64, number % self.samples as u64);
        if self.order.0 != pass {
            self.order = (pass, EpochOrder::new(self.samples, self.seed, pass));
        }
        let index = self.order.1.index(position as usize);
        let mut puzzle = match pool {
            Some(pool) => train[pool[index % pool.len()] as usize],
            None => train[index % train.len()],
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(pass << 32 | position);
        if self.augment {
            let symmetry = Symmetry::random(&mut rng);
            puzzle =
                Puzzle { quiz: symmetry.apply(&puzzle.quiz), solution: symmetry.apply(&puzzle.solution) };
        }
        if self.reveal > 0.0 && rng.random_bool(self.reveal) {
            puzzle.quiz = reveal_some(&puzzle, &mut rng);
        }
        puzzle
    }
}

/// The quiz with each blank filled in with one probability, itself drawn evenly from 0 to 1.
fn reveal_some(puzzle: &Puzzle, rng: &mut ChaCha8Rng) -> Grid {
    let share = rng.random_range(0.0..1.0);
    let mut cells = *puzzle.quiz.cells();
    for (cell, digit) in cells.iter_mut().zip(puzzle.solution.cells()) {
        if *cell == 0 && rng.random_bool(share) {
            *cell = *digit;
        }
    }
    Grid::from_cells(cells).expect("digits of two grids")
}
