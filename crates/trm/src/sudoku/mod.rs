//! Sudoku itself: boards, the exact solver, grading, generation, symmetries and canonical forms. No model code.

mod canonical;
mod contradiction;
mod generator;
mod grade;
mod grid;
mod harden;
mod solver;
mod symmetry;
mod units;

pub use canonical::{canonical, canonical_forms};
pub use contradiction::Contradiction;
pub use generator::{GenerateError, Generator};
pub use grade::grade;
pub use grid::{Grid, GridError, box_of};
pub use harden::{HardenError, Hardener};
pub use solver::{Solutions, solve, solve_within};
pub use symmetry::Symmetry;
pub use units::{OpenCandidates, Units};

/// Cells of a board.
pub const CELLS: usize = 81;
/// Digits that a cell can hold.
pub const DIGITS: usize = 9;

/// A puzzle and its solution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Puzzle {
    /// The board with the givens alone.
    pub quiz: Grid,
    /// The full board.
    pub solution: Grid,
}

/// Why a puzzle and a solution do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PuzzleError {
    /// A cell of the solution is blank.
    #[error("the solution is blank in row {}, column {}", cell / 9 + 1, cell % 9 + 1)]
    Blank {
        /// Index of the cell, row by row from 0.
        cell: usize,
    },
    /// The solution breaks the rules.
    #[error("the solution has {digit} twice in a row, column or box (row {}, column {})", cell / 9 + 1, cell % 9 + 1)]
    Rules {
        /// Index of a cell in conflict.
        cell: usize,
        /// The digit of that cell.
        digit: u8,
    },
    /// The quiz gives another digit than the solution has.
    #[error(
        "row {}, column {}: the quiz gives {given} but the solution has {solution}",
        cell / 9 + 1,
        cell % 9 + 1
    )]
    Disagree {
        /// Index of the cell.
        cell: usize,
        /// The quiz's digit.
        given: u8,
        /// The solution's digit.
        solution: u8,
    },
}

impl Puzzle {
    /// Checks that the solution obeys the rules and that the quiz agrees with it.
    ///
    /// # Errors
    /// The first cell that is wrong.
    pub fn check(&self) -> Result<(), PuzzleError> {
        let solution = self.solution.cells();
        if let Some(cell) = solution.iter().position(|digit| *digit == 0) {
            return Err(PuzzleError::Blank { cell });
        }
        if let Some(cell) = self.solution.first_conflict() {
            return Err(PuzzleError::Rules { cell, digit: solution[cell] });
        }
        let differs = |(given, solution): (&u8, &u8)| *given != 0 && given != solution;
        match self.quiz.cells().iter().zip(solution).position(differs) {
            Some(cell) => {
                Err(PuzzleError::Disagree { cell, given: self.quiz.cells()[cell], solution: solution[cell] })
            }
            None => Ok(()),
        }
    }
}
