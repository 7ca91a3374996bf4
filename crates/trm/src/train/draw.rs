//! Which puzzle a run sees next, and how it looks: a function of the seed and the number of the draw.

use super::curriculum::Stages;
use super::{Draws, Regime};
use crate::config::DataConfig;
use crate::data::{EpochOrder, stream};
use crate::sudoku::{Generator, Grid, Puzzle, Symmetry};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Draws puzzles: passes over all of them follow each other, each in an order of its own.
#[derive(Debug)]
pub(super) struct Draw {
    seed: u64,
    draws: Draws,
    augment: bool,
    reveal: f64,
    /// Share of fresh puzzles, and who makes them.
    fresh: (f64, Generator),
    /// Draws in a pass.
    samples: usize,
    /// The pass that is being drawn from, and its order.
    order: (u64, EpochOrder),
}

impl Draw {
    /// Draws from `puzzles` puzzles.
    pub fn new(regime: &Regime, puzzles: usize) -> Self {
        let Regime { data: config, seed, draws, .. } = regime;
        let (seed, samples) = (*seed, puzzles * config.augment_copies);
        Self {
            seed,
            draws: *draws,
            augment: config.augment,
            reveal: config.reveal,
            fresh: (config.fresh, fresh_puzzles(config, seed)),
            samples,
            order: (0, EpochOrder::new(samples, seed, 0)),
        }
    }

    /// Draws in a pass: each copy of each puzzle once.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The puzzle of draw `number`, from the pool of a stage if there is a curriculum.
    pub fn of_stage(
        &mut self,
        train: &[Puzzle],
        stages: Option<&Stages>,
        stage: usize,
        number: u64,
    ) -> Puzzle {
        self.puzzle(train, stages.map(|stages| stages.pool(stage)), number)
    }

    /// The puzzle of draw `number`: one of `train` or, if there is a pool, one of those whose indices the pool has.
    fn puzzle(&mut self, train: &[Puzzle], pool: Option<&[u32]>, number: u64) -> Puzzle {
        let (pass, position) = (number / self.samples as u64, number % self.samples as u64);
        if self.order.0 != pass {
            self.order = (pass, EpochOrder::new(self.samples, self.seed, pass));
        }
        let index = self.order.1.index(position as usize);
        let mut puzzle = match pool {
            Some(pool) => train[pool[index % pool.len()] as usize],
            None => train[index % train.len()],
        };
        let mut rng = match self.draws {
            Draws::ByPosition => stream(self.seed, pass << 32 | position),
            Draws::ByNumber => stream(self.seed, number),
        };
        if self.fresh.0 > 0.0 && rng.random_bool(self.fresh.0) {
            // A wish that no board fulfils leaves the puzzle that was drawn.
            puzzle = self.fresh.1.generate(number).unwrap_or(puzzle);
        }
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

/// Puzzles that are not among those generated before the run.
fn fresh_puzzles(config: &DataConfig, seed: u64) -> Generator {
    const APART: u64 = 0x0066_7265_7368;
    Generator::new(seed ^ APART, config.generate_givens_min..=config.generate_givens_max)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrmConfig;
    use crate::train::Settings;
    use std::collections::HashSet;

    #[test]
    fn fresh_puzzles_never_come_again_and_are_mixed_with_the_others() {
        let mut settings = TrmConfig::default();
        settings.data.fresh = 0.5;
        (settings.data.generate_givens_min, settings.data.generate_givens_max) = (40, 50);
        let train: Vec<Puzzle> = (0..10).map(|i| Generator::new(1, 60..=70).generate(i).unwrap()).collect();
        let mut draw = Draw::new(&settings.regime(), train.len());
        let drawn: Vec<Puzzle> = (0..200).map(|number| draw.puzzle(&train, None, number)).collect();
        let fresh: HashSet<_> =
            drawn.iter().filter(|p| p.quiz.givens() <= 50).map(|p| *p.quiz.cells()).collect();
        let known = drawn.iter().filter(|p| train.contains(p)).count();
        assert_eq!(fresh.len() + known, 200);
        assert!((70..130).contains(&known), "{known} of 200");
        assert!(drawn.iter().all(|p| p.solution.is_solved() && p.solution.agrees_with(&p.quiz)));
        // The same draw is the same puzzle, in any order: a resumed run goes on with it.
        assert_eq!(draw.puzzle(&train, None, 77), drawn[77]);
    }
}
