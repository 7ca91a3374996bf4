//! The puzzles of a step: those that stay in the batch, and new ones.

use super::kind::{CarriedStates, Kind, StepOutcome};
use super::{Halting, Regime};
use crate::data::stream;
use crate::sudoku::Puzzle;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Random streams of the decisions to halt; those of the draws are below.
const HALTING_STREAMS: u64 = 1 << 63;

/// A place in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Number of the draw that the puzzle in this place came from.
    pub number: u64,
    /// Segments that the puzzle has had.
    pub segments: usize,
    /// Whether the puzzle leaves before the next step.
    pub leaves: bool,
}

/// The batch between two steps.
#[derive(Debug)]
pub(super) struct Places<K: Kind> {
    pub places: Vec<Place>,
    pub puzzles: Vec<Puzzle>,
    pub states: K::States,
}

impl<K: Kind> Default for Places<K> {
    fn default() -> Self {
        Self { places: Vec::new(), puzzles: Vec::new(), states: K::States::default() }
    }
}

impl<K: Kind> Places<K> {
    /// Fills the batch up to `size` puzzles, from draw `drawn` on; returns the draw after the last.
    pub fn fill(
        &mut self,
        model: &K,
        seed: u64,
        (size, mut drawn): (usize, u64),
        mut draw: impl FnMut(u64) -> Puzzle,
    ) -> u64 {
        for place in 0..self.places.len() {
            if self.places[place].leaves {
                self.places[place] = Place { number: drawn, segments: 0, leaves: false };
                self.puzzles[place] = draw(drawn);
                self.states.restart(model, place);
                drawn += 1;
            }
        }
        while self.places.len() < size {
            self.places.push(Place { number: drawn, segments: 0, leaves: false });
            self.puzzles.push(draw(drawn));
            self.states.push(model, seed, drawn);
            drawn += 1;
        }
        drawn
    }

    /// Counts a segment of every puzzle and decides which leave. Returns the number of puzzles that left, how many of
    /// them were right, and the sum of their segments.
    pub fn halt(&mut self, regime: &Regime, step: u64, outcome: &StepOutcome) -> [u64; 3] {
        let mut rng = stream(regime.seed, HALTING_STREAMS | step);
        let mut left = [0; 3];
        for ((place, halts), right) in self.places.iter_mut().zip(&outcome.halts).zip(&outcome.right) {
            place.segments += 1;
            let may_halt = match regime.halting {
                Halting::Never => false,
                Halting::Right => true,
                Halting::Learned { exploration } => {
                    let explores = rng.random_range(0.0..1.0) < exploration;
                    let least = if explores { rng.random_range(2..=regime.segments.max(2)) } else { 0 };
                    place.segments >= least
                }
            };
            place.leaves = place.segments >= regime.segments || (may_halt && *halts);
            if place.leaves {
                left[0] += 1;
                left[1] += u64::from(*right);
                left[2] += place.segments as u64;
            }
        }
        if !regime.keeps_places {
            self.move_up();
        }
        left
    }

    /// Moves the puzzles that stay to the front.
    fn move_up(&mut self) {
        let stays: Vec<bool> = self.places.iter().map(|place| !place.leaves).collect();
        self.states.retain(&stays);
        let mut stay = stays.iter();
        self.puzzles.retain(|_| *stay.next().unwrap_or(&false));
        self.places.retain(|place| !place.leaves);
    }
}
