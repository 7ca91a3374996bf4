//! Difficulty: how many guesses the exact solver needs.

use super::grid::Grid;
use super::solver::{Board, Search, first_of};

/// Number of values that the exact solver tries, beyond singles, until it has the solution; nothing if the puzzle does
/// not have exactly one.
///
/// Singles are cells with one candidate and digits with one place in a unit. Where they decide nothing, the first cell
/// with fewest candidates is tried, smallest digit first; each value tried counts, the right ones included. 0 means
/// that singles suffice. The number depends on how the board is turned and its digits are named.
pub fn grade(puzzle: &Grid) -> Option<u32> {
    super::solve(puzzle).unique()?;
    let mut search = Search::new(1);
    search.run(Board::new(puzzle)?, &mut first_of);
    Some(search.guesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singles_are_grade_zero_and_hard_puzzles_are_not() {
        let easy = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
        assert_eq!(grade(&Grid::parse(easy).unwrap()), Some(0));
        // Arto Inkala's puzzle of 2012.
        let hard = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";
        assert!(grade(&Grid::parse(hard).unwrap()).unwrap() > 5);
        assert_eq!(grade(&Grid::BLANK), None);
    }
}
