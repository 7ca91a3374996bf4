//! A 9x9 board, its text forms, and the rules.

use std::fmt;

/// Digits of 81 cells, row by row; 0 is a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid([u8; 81]);

/// Why a text is no board.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// Not 81 cells.
    #[error("expected 81 cells, found {0}")]
    Length(usize),
    /// A character that is neither a digit nor a blank.
    #[error(
        "character {found:?} at position {position}: expected 1 to 9, or one of 0 . _ * x ? - or a space for a blank"
    )]
    Character {
        /// From 1.
        position: usize,
        /// What stands there.
        found: char,
    },
}

/// Number of the 3x3 box that a cell lies in, from 0.
pub const fn box_of(cell: usize) -> usize {
    cell / 27 * 3 + cell % 9 / 3
}

fn digit_of(c: u8) -> Option<u8> {
    match c {
        b'1'..=b'9' => Some(c - b'0'),
        b'0' | b'.' | b'_' | b'*' | b'x' | b'X' | b'?' | b'-' | b' ' => Some(0),
        _ => None,
    }
}

impl Grid {
    /// A board without digits.
    pub const BLANK: Self = Self([0; 81]);

    /// Reads 81 characters: digits, and `0`, `.`, `_`, `*`, `x`, `?`, `-` or a space for a blank.
    ///
    /// # Errors
    /// Another length, or another character.
    pub fn parse(text: &str) -> Result<Self, GridError> {
        if text.len() != 81 {
            // Blanks may stand at the ends: white space around a line is dropped only where it is too much.
            let trimmed = text.trim();
            return if trimmed.len() == 81 { Self::parse(trimmed) } else { Err(Self::length_error(text)) };
        }
        let mut cells = [0; 81];
        for (i, (cell, c)) in cells.iter_mut().zip(text.bytes()).enumerate() {
            let Some(digit) = digit_of(c) else {
                let found = text[..].char_indices().find(|(at, _)| *at >= i).map_or('?', |(_, c)| c);
                return Err(GridError::Character { position: i + 1, found });
            };
            *cell = digit;
        }
        Ok(Self(cells))
    }

    fn length_error(text: &str) -> GridError {
        let odd =
            text.trim().char_indices().find(|(_, c)| u8::try_from(*c).ok().and_then(digit_of).is_none());
        match odd {
            Some((at, found)) if !found.is_whitespace() => GridError::Character { position: at + 1, found },
            _ => GridError::Length(text.trim().chars().count()),
        }
    }

    /// A board of these digits, 0 for blanks; nothing if one is above 9.
    pub fn from_cells(cells: [u8; 81]) -> Option<Self> {
        cells.iter().all(|digit| *digit <= 9).then_some(Self(cells))
    }

    /// The digits, row by row; 0 is a blank.
    pub fn cells(&self) -> &[u8; 81] {
        &self.0
    }

    /// This board with another digit, 1 to 9, or a blank in a cell.
    pub(super) fn with(mut self, cell: usize, digit: u8) -> Self {
        debug_assert!(digit <= 9);
        self.0[cell] = digit;
        self
    }

    /// Number of cells that are not blank.
    pub fn givens(&self) -> usize {
        self.0.iter().filter(|digit| **digit != 0).count()
    }

    /// Cells whose digit stands again in their row, column or box.
    pub fn conflicts(&self) -> Vec<usize> {
        let mut counts = [[0u8; 10]; 27];
        for (cell, digit) in self.0.iter().enumerate() {
            units_of(cell).into_iter().for_each(|unit| counts[unit][usize::from(*digit)] += 1);
        }
        let clashes = |cell: &usize| {
            let digit = usize::from(self.0[*cell]);
            digit != 0 && units_of(*cell).into_iter().any(|unit| counts[unit][digit] > 1)
        };
        (0..81).filter(clashes).collect()
    }

    /// A cell whose digit stands before it in its row, column or box; cheaper than [`Self::conflicts`].
    pub fn first_conflict(&self) -> Option<usize> {
        let mut seen = [0u16; 27];
        (0..81).find(|cell| {
            let bit = 1 << self.0[*cell];
            let units = units_of(*cell);
            let clash = bit != 1 && units.iter().any(|unit| seen[*unit] & bit != 0);
            units.iter().for_each(|unit| seen[*unit] |= bit);
            clash
        })
    }

    /// Two cells that share a digit and a row, column or box, in words; nothing if no digit stands twice.
    pub fn clash(&self) -> Option<String> {
        let second = self.first_conflict()?;
        let digit = self.0[second];
        let shared = |cell: usize| units_of(cell).into_iter().zip(units_of(second)).find(|(a, b)| a == b);
        let first = (0..second).find(|cell| self.0[*cell] == digit && shared(*cell).is_some())?;
        let (unit, _) = shared(first)?;
        let name = ["row", "column", "box"][unit / 9];
        let place = |cell: usize| format!("row {}, column {}", cell / 9 + 1, cell % 9 + 1);
        Some(format!(
            "{digit} stands twice in {name} {}: in {} and in {}",
            unit % 9 + 1,
            place(first),
            place(second)
        ))
    }

    /// Whether it is full and obeys the rules.
    pub fn is_solved(&self) -> bool {
        !self.0.contains(&0) && self.first_conflict().is_none()
    }

    /// Whether every digit that `puzzle` gives stands here too.
    pub fn agrees_with(&self, puzzle: &Self) -> bool {
        self.0.iter().zip(&puzzle.0).all(|(mine, given)| *given == 0 || mine == given)
    }

    /// 81 characters, blanks as `.`.
    pub fn to_line(&self) -> String {
        self.0.iter().map(|digit| if *digit == 0 { '.' } else { char::from(b'0' + digit) }).collect()
    }
}

/// The cell's row, column and box among all 27 units.
pub(super) fn units_of(cell: usize) -> [usize; 3] {
    [cell / 9, 9 + cell % 9, 18 + box_of(cell)]
}

impl fmt::Display for Grid {
    /// Nine lines with lines between the boxes.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (row, digits) in self.to_line().as_bytes().chunks(9).enumerate() {
            if row == 3 || row == 6 {
                writeln!(f, "------+-------+------")?;
            }
            let parts: Vec<String> = digits
                .chunks(3)
                .map(|part| part.iter().map(|c| char::from(*c).to_string()).collect::<Vec<_>>().join(" "))
                .collect();
            writeln!(f, "{}", parts.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";

    #[test]
    fn every_blank_is_read_and_written_back() {
        let grid = Grid::parse(LINE).unwrap();
        assert_eq!(grid.givens(), 30);
        for blank in ["0", "_", " ", "*", "x", "X", "?", "-"] {
            assert_eq!(Grid::parse(&LINE.replace('.', blank)), Ok(grid));
        }
        assert_eq!(grid.to_line(), LINE);
        assert_eq!(Grid::parse(&format!("  {LINE}\r\n")), Ok(grid));
    }

    #[test]
    fn bad_texts_are_refused_with_the_place() {
        assert_eq!(Grid::parse("123"), Err(GridError::Length(3)));
        assert_eq!(Grid::parse(""), Err(GridError::Length(0)));
        let found = |text: &str| Grid::parse(text);
        assert_eq!(found(&LINE.replacen('7', "a", 1)), Err(GridError::Character { position: 5, found: 'a' }));
        let wide = format!("é{}", &LINE[2..]);
        assert_eq!(found(&wide), Err(GridError::Character { position: 1, found: 'é' }));
    }

    #[test]
    fn conflicts_are_the_cells_that_share_a_digit_with_a_peer() {
        let mut cells = [0; 81];
        assert!(Grid(cells).conflicts().is_empty() && !Grid(cells).is_solved());
        (cells[0], cells[8], cells[10], cells[80]) = (5, 5, 5, 5);
        assert_eq!(Grid(cells).conflicts(), [0, 8, 10, 80]);
        assert_eq!(Grid(cells).first_conflict(), Some(8));
        assert_eq!(
            Grid(cells).clash().unwrap(),
            "5 stands twice in row 1: in row 1, column 1 and in row 1, column 9"
        );
        cells[80] = 4;
        assert_eq!(Grid(cells).conflicts(), [0, 8, 10]);
        cells[8] = 0;
        assert_eq!(
            Grid(cells).clash().unwrap(),
            "5 stands twice in box 1: in row 1, column 1 and in row 2, column 2"
        );
        cells[10] = 0;
        assert_eq!(Grid(cells).clash(), None);
    }
}
