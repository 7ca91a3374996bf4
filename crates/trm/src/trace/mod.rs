//! How an answer came about: every attempt, why it began and how it ended, and the board after every outer cycle.
//!
//! A trace is written down by an observer of the very computation that gives the answer. Its field names, as JSON, are those
//! of the types here; [`VERSION`] changes when they do.

mod recorder;

pub use recorder::Recorder;

use crate::model::{
    Budget, Failure, Guess, GuessReason, Observer, SearchReason, Thinker, TrajectoryEnd, TrajectoryReason,
};
use crate::parallel::Threads;
use crate::solve::{Answer, Givens};
use crate::sudoku::{DIGITS, Grid};
use serde::{Deserialize, Serialize};

/// Version of the trace format: the names of its fields and their meaning.
pub const VERSION: u32 = 2;

/// How the answer to one puzzle came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The [`VERSION`] of the program that wrote the trace.
    pub version: u32,
    /// The puzzle, 81 characters, `.` where blank.
    pub puzzle: String,
    /// How long the model was allowed to think, and the seed of its random numbers.
    pub budget: Budget,
    /// Everything that happened on the way to the answer, in order. The last event is [`Event::Answer`].
    pub events: Vec<Event>,
}

/// Something that happened on the way to an answer. In JSON the field `event` has its name in small letters, as in
/// `guess_taken_back`. Cells are counted from 0 to 80, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The recursion started from first states.
    TrajectoryBegun {
        /// Number of the trajectory, from 0.
        restart: usize,
        /// Why the trajectory began.
        why: TrajectoryReason,
    },
    /// An outer cycle was made.
    Cycle(Box<Cycle>),
    /// Hypotheses were assumed or taken back.
    HypothesesRevised {
        /// The digits that were newly assumed.
        assumed: Vec<Digit>,
        /// The digits that were taken back.
        taken_back: Vec<Digit>,
        /// Whether hypotheses were taken back and none is left.
        all_taken_back: bool,
    },
    /// A trajectory was over.
    TrajectoryEnded {
        /// Number of the trajectory, from 0.
        restart: usize,
        /// Number of outer cycles of the trajectory.
        cycles: usize,
        /// Why the trajectory ended.
        end: TrajectoryEnd,
    },
    /// Guessing started from the givens alone.
    SearchBegun {
        /// Number of the search, from 0.
        start: u64,
        /// Why the search began.
        why: SearchReason,
    },
    /// A digit was taken for given, and the recursion started again from first states.
    GuessBegun {
        /// The digit, its place, and how many guesses it stands on.
        guess: Guess,
        /// Why this digit, and why now.
        why: GuessReason,
    },
    /// A guessed digit was taken back.
    GuessTakenBack {
        /// The digit, its place, and how many guesses it stood on.
        guess: Guess,
        /// Why.
        why: Failure,
    },
    /// A search was over.
    SearchEnded {
        /// Number of the search, from 0.
        start: u64,
        /// Why the search failed; nothing if it found the solution.
        failure: Option<Failure>,
    },
    /// The answer is given. An unsolved puzzle is answered by what the first trajectory ended in.
    Answer {
        /// Number of the outer cycle that the answer was read off after.
        cycle: usize,
        /// Whether the answer is a solution.
        solved: bool,
        /// The board, 81 digits.
        board: String,
    },
}

/// The answer after one outer cycle, and what led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// Outer cycle, from 1, counted through all attempts.
    pub cycle: usize,
    /// Outer cycle of this attempt, from 1: since the recursion last started from first states.
    pub of_attempt: usize,
    /// The board read off at this point, 81 digits.
    pub board: String,
    /// Softmax of each cell's logits: `[81, 9]`, the probability of each digit from 1 to 9.
    pub probabilities: Vec<[f32; DIGITS]>,
    /// Cells whose digit differs from the cycle before; from the puzzle in the first cycle of an attempt.
    pub changed: Vec<usize>,
    /// Conflicting cells, from 0 to 80: the digit occurs again in the same row, column or box, or differs from the
    /// given.
    pub conflicts: Vec<usize>,
    /// Whether the answer was checked here. A solution in another cycle goes unnoticed.
    pub judged: bool,
    /// Whether the likeliest digits of the blanks make, with the givens, a board that obeys the rules.
    pub solved: bool,
    /// Mean over the blank cells of the largest probability.
    pub mean_confidence: f32,
    /// Mean over the blank cells of the entropy of the prediction, in bits; at most log2 9 = 3.17.
    pub mean_entropy_bits: f32,
    /// `|z_new - z_old|` of each inner refinement of the latent state: the root of the mean square over its values.
    pub latent_updates: Vec<f32>,
    /// `|y_new - y_old|` of the answer state: the root of the mean square over its values.
    pub output_update: f32,
    /// Hypotheses in force during this cycle.
    pub hypotheses: Vec<Digit>,
    /// Guessed digits in force during this cycle.
    pub guesses: Vec<Digit>,
}

/// A digit in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digit {
    /// Cell, from 0 to 80, row by row.
    pub cell: usize,
    /// Digit, from 1 to 9.
    pub digit: u8,
}

impl Trace {
    /// The outer cycles of all attempts, in order.
    pub fn cycles(&self) -> impl Iterator<Item = &Cycle> {
        self.events.iter().filter_map(|event| match event {
            Event::Cycle(cycle) => Some(&**cycle),
            _ => None,
        })
    }
}

/// Answers every puzzle within `budget`, with the same answers as [`crate::solve::solve`], and also returns how each
/// answer came about.
pub fn solve_traced(
    model: &dyn Thinker,
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    threads: &Threads,
) -> Vec<(Answer, Trace)> {
    let cells: Vec<u8> = puzzles.iter().flat_map(|grid| *grid.cells()).collect();
    let mut recorders: Vec<Recorder> = puzzles.iter().map(|puzzle| Recorder::new(puzzle, givens)).collect();
    let mut observers: Vec<&mut dyn Observer> =
        recorders.iter_mut().map(|r| r as &mut dyn Observer).collect();
    let predictions = model.predict_observed(&cells, budget, &mut observers, threads);
    let traced = puzzles.iter().zip(predictions).zip(recorders);
    let traced = traced.map(|((puzzle, prediction), recorder)| {
        let answer = Answer::of(puzzle, &prediction, givens);
        let trace = recorder.finish(&answer, budget);
        (answer, trace)
    });
    traced.collect()
}
