//! How an answer came about: every attempt, why it began and how it ended, and the board after every outer cycle.
//!
//! A trace is written down by an observer of the very computation that gives the answer. Its field names, as JSON, are those
//! of the types here; [`VERSION`] changes when they do.

use crate::model::{
    Budget, CycleView, Engine, Failure, Guess, GuessReason, Model, Moment, Observer, Prediction,
    SearchReason, TrajectoryEnd, TrajectoryReason,
};
use crate::parallel::Threads;
use crate::solve::{Answer, Givens};
use crate::sudoku::{CELLS, DIGITS, Grid};
use serde::{Deserialize, Serialize};

/// Version of the trace's field names and their meaning. Version 1, before this one, was a bare list of cycles.
pub const VERSION: u32 = 2;

/// How the answer to one puzzle came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The puzzle, 81 characters, `.` where blank.
    pub puzzle: String,
    /// How long the model was allowed to think, and the seed of its random numbers.
    pub budget: Budget,
    /// What happened, in order. The last one is [`Event::Answer`].
    pub events: Vec<Event>,
}

/// Something that happened on the way to an answer. In JSON the field `event` has its name in small letters, as in
/// `guess_taken_back`. Cells are counted from 0 to 80, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The recursion started from first states.
    TrajectoryBegun {
        /// 0 for the first trajectory, then counted.
        restart: usize,
        /// Why there is one.
        why: TrajectoryReason,
    },
    /// An outer cycle was made.
    Cycle(Box<Cycle>),
    /// Hypotheses were assumed or taken back.
    HypothesesRevised {
        /// What was assumed.
        assumed: Vec<Digit>,
        /// What was taken back.
        taken_back: Vec<Digit>,
        /// Whether hypotheses were taken back and none is left.
        all_taken_back: bool,
    },
    /// A trajectory was over.
    TrajectoryEnded {
        /// Its number: 0 for the first.
        restart: usize,
        /// Outer cycles that it had.
        cycles: usize,
        /// Why it ended.
        end: TrajectoryEnd,
    },
    /// Guessing started from the givens alone.
    SearchBegun {
        /// 0 for the first search, then counted.
        start: u64,
        /// Why there is one.
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
        /// Its number: 0 for the first.
        start: u64,
        /// Why it failed; nothing if it found the solution.
        failure: Option<Failure>,
    },
    /// The answer is given. An unsolved puzzle is answered by what the first trajectory ended in.
    Answer {
        /// The outer cycle whose answer it is.
        cycle: usize,
        /// Whether it is a solution.
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
    /// Cells whose digit stands again in their row, column or box, or differs from the given.
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

/// Answers every puzzle and tells how each answer came about. The answers are those of [`crate::solve::solve`].
pub fn solve_traced(
    model: &Model,
    engine: &mut Engine,
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    threads: &Threads,
) -> Vec<(Answer, Trace)> {
    solve_traced_with(puzzles, givens, budget, |cells, recorders| {
        engine.predict_observed(model, cells, budget, recorders, threads)
    })
}

/// Answers every puzzle and tells how each answer came about.
///
/// `predict` makes predictions of cells, `[puzzles, 81]`, within `budget`, observed by a recorder for each puzzle.
pub fn solve_traced_with(
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    predict: impl FnOnce(&[u8], &mut [Recorder]) -> Vec<Prediction>,
) -> Vec<(Answer, Trace)> {
    let cells: Vec<u8> = puzzles.iter().flat_map(|grid| *grid.cells()).collect();
    let mut recorders: Vec<Recorder> = puzzles.iter().map(|puzzle| Recorder::new(puzzle, givens)).collect();
    let predictions = predict(&cells, &mut recorders);
    let traced = puzzles.iter().zip(predictions).zip(recorders);
    let traced = traced.map(|((puzzle, prediction), recorder)| {
        let answer = Answer::of(puzzle, &prediction, givens);
        let trace = recorder.finish(&answer, budget);
        (answer, trace)
    });
    traced.collect()
}

/// Writes down the trace of a puzzle while it is thought about.
#[derive(Clone, Debug)]
pub struct Recorder {
    puzzle: Grid,
    givens: Givens,
    events: Vec<Event>,
    /// Outer cycles so far, and those of this attempt.
    cycles: [usize; 2],
    /// The board before the next cycle.
    before: [u8; CELLS],
    /// The outer cycle that the first trajectory ended with.
    end_of_first: usize,
}

impl Recorder {
    /// Nothing is written down yet. `givens` says how boards are read off.
    pub fn new(puzzle: &Grid, givens: Givens) -> Self {
        let before = *puzzle.cells();
        Self { puzzle: *puzzle, givens, events: Vec::new(), cycles: [0; 2], before, end_of_first: 0 }
    }

    /// The whole trace, now that the answer is there.
    pub fn finish(mut self, answer: &Answer, budget: &Budget) -> Trace {
        // A solution ends all thinking.
        let is_found = self.events.iter().rev().find_map(|event| match event {
            Event::Cycle(cycle) => Some(cycle.judged && cycle.solved),
            _ => None,
        });
        let cycle = if is_found == Some(true) { self.cycles[0] } else { self.end_of_first };
        self.events.push(Event::Answer { cycle, solved: answer.solved, board: answer.board.to_line() });
        Trace { version: VERSION, puzzle: self.puzzle.to_line(), budget: *budget, events: self.events }
    }

    fn attempt(&mut self) {
        self.cycles[1] = 0;
        self.before = *self.puzzle.cells();
    }

    fn cycle(&mut self, view: &CycleView) -> Cycle {
        self.cycles = self.cycles.map(|cycles| cycles + 1);
        let answer = Answer::read(&self.puzzle, view.logits, self.givens);
        let (puzzle, board) = (self.puzzle.cells(), *answer.board.cells());
        let changed = (0..CELLS).filter(|i| self.before[*i] != board[*i]).collect();
        self.before = board;
        let blanks = (0..CELLS).filter(|i| puzzle[*i] == 0);
        let certainty: Vec<[f32; 2]> = blanks.map(|i| certainty(&answer.probabilities[i])).collect();
        let mean =
            |which: usize| certainty.iter().map(|c| c[which]).sum::<f32>() / certainty.len().max(1) as f32;
        let guessed: Vec<u8> = puzzle.iter().zip(view.cells).map(|(given, cell)| cell - given).collect();
        Cycle {
            cycle: self.cycles[0],
            of_attempt: self.cycles[1],
            board: answer.board.to_line(),
            changed,
            conflicts: answer.conflicts,
            judged: view.is_judged,
            solved: view.is_solution,
            mean_confidence: mean(0),
            mean_entropy_bits: mean(1),
            probabilities: answer.probabilities,
            latent_updates: view.updates.latent.clone(),
            output_update: view.updates.output,
            hypotheses: digits(view.assumed, |_| true),
            guesses: digits(&guessed, |_| true),
        }
    }
}

impl Observer for Recorder {
    fn see(&mut self, moment: &Moment<'_>) {
        let event = match *moment {
            Moment::TrajectoryBegun { restart, why } => {
                self.attempt();
                Event::TrajectoryBegun { restart, why }
            }
            Moment::Cycle(view) => Event::Cycle(Box::new(self.cycle(&view))),
            Moment::HypothesesRevised { before, after } => {
                let is_new = |cell: usize| before[cell] != after[cell];
                let taken_back = digits(before, is_new);
                Event::HypothesesRevised {
                    assumed: digits(after, is_new),
                    all_taken_back: !taken_back.is_empty() && after.iter().all(|digit| *digit == 0),
                    taken_back,
                }
            }
            Moment::TrajectoryEnded { restart, end } => {
                if restart == 0 {
                    self.end_of_first = self.cycles[0];
                }
                Event::TrajectoryEnded { restart, cycles: self.cycles[1], end }
            }
            Moment::SearchBegun { start, why } => {
                self.attempt();
                Event::SearchBegun { start, why }
            }
            Moment::GuessBegun { guess, why } => {
                self.attempt();
                Event::GuessBegun { guess, why }
            }
            Moment::GuessTakenBack { guess, why } => Event::GuessTakenBack { guess, why: why.clone() },
            Moment::SearchEnded { start, failure } => Event::SearchEnded { start, failure: failure.cloned() },
        };
        self.events.push(event);
    }
}

/// The digits of some cells, `[81]`, 0 for none, where `counts` says so.
fn digits(cells: &[u8], counts: impl Fn(usize) -> bool) -> Vec<Digit> {
    let digits = cells.iter().enumerate().filter(|(cell, digit)| **digit > 0 && counts(*cell));
    digits.map(|(cell, digit)| Digit { cell, digit: *digit }).collect()
}

/// [largest probability, entropy in bits]
fn certainty(probabilities: &[f32; DIGITS]) -> [f32; 2] {
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    let entropy = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum();
    [largest, entropy]
}
