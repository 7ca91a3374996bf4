//! What is shown while a puzzle is thought about: every attempt, why it began and how it ended, and every outer cycle.

use crate::sudoku::Contradiction;
use serde::{Deserialize, Serialize};

/// Somebody who looks on while one puzzle is thought about. Nothing that it does changes the answer.
pub trait Observer: Send {
    /// Sees the next moment.
    fn see(&mut self, moment: &Moment<'_>);
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn see(&mut self, moment: &Moment<'_>) {
        (**self).see(moment);
    }
}

/// A moment of thinking about one puzzle.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// The recursion starts from first states.
    TrajectoryBegun {
        /// Number of the trajectory, from 0.
        restart: usize,
        /// Why the trajectory begins.
        why: TrajectoryReason,
    },
    /// An outer cycle is over.
    Cycle(CycleView<'a>),
    /// Hypotheses were assumed or taken back.
    HypothesesRevised {
        /// Digits that were taken for true before, `[81]`, 0 for none.
        before: &'a [u8],
        /// Digits that are taken for true from now on, `[81]`, 0 for none.
        after: &'a [u8],
    },
    /// The trajectory is over.
    TrajectoryEnded {
        /// Number of the trajectory, from 0.
        restart: usize,
        /// Why the trajectory is over.
        end: TrajectoryEnd,
    },
    /// Guessing starts from the givens alone.
    SearchBegun {
        /// Number of the search, from 0. It is also the number of the restart whose random numbers the search takes.
        start: u64,
        /// Why the search begins.
        why: SearchReason,
    },
    /// A digit is taken for given, and the recursion starts again from first states.
    GuessBegun {
        /// The guess: a digit and its cell.
        guess: Guess,
        /// Why this digit, and why now.
        why: GuessReason,
    },
    /// A guessed digit is taken back.
    GuessTakenBack {
        /// The guess: a digit and its cell.
        guess: Guess,
        /// Why the guess is taken back.
        why: &'a Failure,
    },
    /// The search is over.
    SearchEnded {
        /// Number of the search: 0 for the first.
        start: u64,
        /// Why the search failed; nothing if it found the solution.
        failure: Option<&'a Failure>,
    },
}

/// The answer of one puzzle after an outer cycle, as an observer sees it.
#[derive(Clone, Copy, Debug)]
pub struct CycleView<'a> {
    /// The answer, `[81, 9]`.
    pub logits: &'a [f32],
    /// Whether the answer was checked at this point. Answers of other cycles are shown, and nothing follows from them.
    pub is_judged: bool,
    /// Whether the likeliest digits of the blanks make, with the givens, a board that obeys the rules.
    pub is_solution: bool,
    /// How far the states moved.
    pub updates: &'a Updates,
    /// Digits that the network sees as given, guessed ones included, `[81]`.
    pub cells: &'a [u8],
    /// Digits that are taken for true for the time being, `[81]`, 0 for none.
    pub assumed: &'a [u8],
}

/// How far the states moved in one outer cycle: `|new - old|`, root mean square over all values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Updates {
    /// How far the latent state z moved, one value for each inner refinement.
    pub latent: Vec<f32>,
    /// How far the answer state y moved.
    pub output: f32,
}

/// Why a trajectory began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrajectoryReason {
    /// The trajectory is the first one.
    First,
    /// The trajectory before it spent its cycles without a solution.
    Unsolved,
}

/// Why a trajectory ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrajectoryEnd {
    /// The answer of the trajectory is a solution.
    Solved,
    /// The trajectory had as many outer cycles as the budget allows.
    CyclesSpent,
}

/// Why a search began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchReason {
    /// No trajectory found a solution.
    Unsolved,
    /// The search before it failed, and guesses are left: from other first states it may be wiser.
    SearchFailed,
}

/// A digit that is taken for given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Guesses in force with this one: 1 for a guess on top of the givens alone.
    pub depth: usize,
    /// Cell, from 0 to 80, row by row.
    pub cell: usize,
    /// Digit, from 1 to 9.
    pub digit: u8,
    /// Probability of the digit in the answer when it was chosen, from 0 to 1.
    pub probability: f32,
}

/// Why a digit was guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum GuessReason {
    /// The answer became certain of no further cell in the last outer cycles; this is the likeliest digit of the cell with
    /// fewest likely digits.
    NoHeadway {
        /// Number of outer cycles without headway.
        cycles: usize,
    },
    /// A likelier digit of the same cell was taken back.
    TakenBack {
        /// The likelier digit that was taken back.
        digit: u8,
    },
}

/// Why a guess, or a whole search, led nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Failure {
    /// The givens, the guesses and the digits that the answer is certain of contradict each other.
    Contradiction {
        /// The contradiction.
        contradiction: Contradiction,
    },
    /// Every likely digit of one cell was guessed after this guess and taken back.
    NoDigitLeft {
        /// The cell, from 0 to 80.
        cell: usize,
    },
    /// The answer is certain of every cell, so nothing can be guessed, and it is no solution.
    NothingUncertain,
    /// The number of guesses that the budget allows was made.
    GuessesSpent,
}

/// An observer, or none. Where there is none nothing is computed for it.
pub(super) struct Watch<'a>(Option<&'a mut dyn Observer>);

impl<'a> Watch<'a> {
    /// Nobody looks on.
    pub fn off() -> Self {
        Self(None)
    }

    /// `observer` looks on.
    pub fn by(observer: &'a mut dyn Observer) -> Self {
        Self(Some(observer))
    }

    /// Whether somebody looks on.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Shows a moment, which is put together only if somebody looks on.
    pub fn show<'m>(&mut self, moment: impl FnOnce() -> Moment<'m>) {
        if let Some(observer) = &mut self.0 {
            observer.see(&moment());
        }
    }
}

impl Updates {
    /// `|after - before|`, root mean square.
    pub(super) fn size(before: &[f32], after: &[f32]) -> f32 {
        let squares: f32 = before.iter().zip(after).map(|(b, a)| (a - b) * (a - b)).sum();
        (squares / before.len().max(1) as f32).sqrt()
    }
}
