//! How long the recursion may think about a puzzle, and what came of it.
//!
//! A board that obeys the rules and agrees with the givens is the solution, if there is only one: so a puzzle is left as
//! soon as its answer is such a board. Until then the recursion goes on, starts again from other random states
//! (trajectory.rs), and at last guesses (search.rs). What is called solved is always checked.

use super::argmax;
use crate::config::NetworkConfig;
use crate::sudoku::{CELLS, DIGITS, Grid};
use serde::{Deserialize, Serialize};

/// How long the recursion may think about a puzzle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Most outer cycles of one trajectory.
    pub steps: usize,
    /// Further trajectories for a puzzle that the first one leaves unsolved, each from other random first states.
    pub restarts: usize,
    /// Most digits that are guessed for a puzzle that no trajectory solves.
    pub guesses: usize,
    /// Seed of the random first states and hypotheses. With the puzzle and the number of the restart it decides all random
    /// numbers.
    pub seed: u64,
}

/// The answer to one puzzle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Logits, `[81, 9]`: those of the solved board or, if no board was solved, those that the first trajectory ended
    /// in.
    pub logits: Vec<f32>,
    /// Outer cycles, all together.
    pub steps: usize,
    /// Trajectories behind the first.
    pub restarts: usize,
    /// Digits that were guessed, the wrong ones included.
    pub guesses: usize,
    /// Floating-point operations of these outer cycles: a product of `[1, a]` by `[a, b]` counts 2ab. Of open candidates as
    /// many are counted as the puzzles of Sudoku-Extreme have on average.
    pub flops: u64,
    /// Whether the board, with the givens as given, obeys the rules.
    pub solved: bool,
}

impl Budget {
    /// The budget that the model was trained for: one trajectory of `H_cycles * segments` outer cycles.
    pub fn trained(config: &NetworkConfig) -> Self {
        Self { steps: config.h_cycles * config.segments, restarts: 0, guesses: 0, seed: config.seed }
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
