//! Why no solution can follow from a board.

use super::Grid;
use super::grid::units_of;
use serde::{Deserialize, Serialize};

/// Bits 1 to 9.
const DIGITS: u16 = 0x3fe;

/// What is wrong with a board that has no solution. Cells are counted from 0 to 80, row by row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Contradiction {
    /// A digit stands twice in a row, column or box.
    Twice {
        /// All cells whose digit stands again in their row, column or box.
        cells: Vec<usize>,
    },
    /// A blank cell has no digit left: each of the nine stands in its row, column or box.
    NoDigit {
        /// The cell.
        cell: usize,
    },
    /// A digit has no place left in a row, column or box.
    NoPlace {
        /// The digit.
        digit: u8,
        /// The nine cells of that row, column or box.
        cells: Vec<usize>,
    },
}

impl Contradiction {
    /// The first contradiction that is found on a board without search, if there is one.
    pub fn of(board: &Grid) -> Option<Self> {
        if board.first_conflict().is_some() {
            return Some(Self::Twice { cells: board.conflicts() });
        }
        let mut seen = [0u16; 27];
        for (cell, digit) in board.cells().iter().enumerate().filter(|(_, digit)| **digit > 0) {
            units_of(cell).into_iter().for_each(|unit| seen[unit] |= 1 << digit);
        }
        // Digits that stand in a unit or could still be put there.
        let mut possible = seen;
        for cell in (0..81).filter(|cell| board.cells()[*cell] == 0) {
            let units = units_of(cell);
            let candidates = !units.iter().fold(0, |digits, unit| digits | seen[*unit]) & DIGITS;
            if candidates == 0 {
                return Some(Self::NoDigit { cell });
            }
            units.into_iter().for_each(|unit| possible[unit] |= candidates);
        }
        let unit = possible.iter().position(|digits| *digits != DIGITS)?;
        let digit = (!possible[unit] & DIGITS).trailing_zeros() as u8;
        let cells = (0..81).filter(|cell| units_of(*cell).contains(&unit)).collect();
        Some(Self::NoPlace { digit, cells })
    }

    /// What is wrong on `board`, the board that it was found on, in words that name rows, columns and boxes from 1.
    pub fn in_words(&self, board: &Grid) -> String {
        match self {
            Self::Twice { .. } => board.clash().unwrap_or_else(|| "a digit stands twice".into()),
            Self::NoDigit { cell } => {
                format!("no digit is left for row {}, column {}", cell / 9 + 1, cell % 9 + 1)
            }
            Self::NoPlace { digit, cells } => {
                let shared = |unit: &usize| cells.iter().all(|cell| units_of(*cell).contains(unit));
                let place = (0..27)
                    .find(shared)
                    .map(|unit| format!("{} {}", ["row", "column", "box"][unit / 9], unit % 9 + 1));
                format!("{digit} has no place in {}", place.unwrap_or_else(|| "its unit".into()))
            }
        }
    }

    /// The cells that it is about.
    pub fn cells(&self) -> &[usize] {
        match self {
            Self::Twice { cells } | Self::NoPlace { cells, .. } => cells,
            Self::NoDigit { cell } => std::slice::from_ref(cell),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_seen_where_nothing_is_left_for_a_cell_or_a_digit() {
        let found = |text: &str| Contradiction::of(&Grid::parse(text).unwrap());
        let blank = ".".repeat(81);
        assert_eq!(found(&blank), None);
        let twice = found(&format!("11{}", &blank[2..]));
        assert_eq!(twice, Some(Contradiction::Twice { cells: vec![0, 1] }));
        let words = |text: &str| {
            let board = Grid::parse(text).unwrap();
            Contradiction::of(&board).unwrap().in_words(&board)
        };
        let twice = "1 stands twice in row 1: in row 1, column 1 and in row 1, column 2";
        assert_eq!(words(&format!("11{}", &blank[2..])), twice);
        // Row 1 leaves 9 for its last cell, but 9 stands in that column.
        let no_digit = format!("12345678.{}9{}", &blank[9..17], &blank[18..]);
        assert_eq!(found(&no_digit), Some(Contradiction::NoDigit { cell: 8 }));
        assert_eq!(words(&no_digit), "no digit is left for row 1, column 9");
        // In the first box 1 could only stand in row 1, where row 1 has it already in the last box.
        let no_place = format!("...1.....234......567......{}", &blank[27..]);
        let cells = vec![0, 1, 2, 9, 10, 11, 18, 19, 20];
        assert_eq!(found(&no_place), Some(Contradiction::NoPlace { digit: 1, cells }));
        assert_eq!(words(&no_place), "1 has no place in box 1");
        let fine = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
        assert_eq!(found(fine), None);
    }
}
