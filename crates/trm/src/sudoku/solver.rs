//! The exact solver: candidates as bit masks, singles, then guesses where there are fewest candidates.

use super::grid::{Grid, box_of};

/// All that matters about the number of solutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solutions {
    /// The puzzle contradicts itself.
    None,
    /// Exactly one solution.
    One(Grid),
    /// Two of several solutions.
    Many(Grid, Grid),
}

impl Solutions {
    /// The solution if there is exactly one.
    pub fn unique(self) -> Option<Grid> {
        match self {
            Self::One(grid) => Some(grid),
            _ => None,
        }
    }
}

/// Finds out whether a puzzle has no, one or several solutions.
pub fn solve(puzzle: &Grid) -> Solutions {
    solve_within(puzzle, u32::MAX).unwrap_or(Solutions::None)
}

/// Finds out whether a puzzle has no, one or several solutions, unless that takes more guesses than `most`: a few puzzles
/// without a solution take many millions. Nothing if it does.
pub fn solve_within(puzzle: &Grid, most: u32) -> Option<Solutions> {
    let mut search = Search { most, ..Search::new(2) };
    if let Some(board) = Board::new(puzzle) {
        search.run(board, &mut first_of);
    }
    match search.found[..] {
        [one, other, ..] => Some(Solutions::Many(one, other)),
        _ if search.guesses >= most => None,
        [] => Some(Solutions::None),
        [one] => Some(Solutions::One(one)),
    }
}

/// Whether every solution of the puzzle has this digit in this cell.
pub(super) fn is_forced(puzzle: &Grid, cell: usize, digit: u8) -> bool {
    let mut search = Search::new(1);
    if let Some(board) = Board::new(puzzle) {
        search.branch(board, cell, board.candidates(cell) & !(1 << (digit - 1)), &mut first_of);
    }
    search.found.is_empty()
}

/// Candidates of every cell, bit d - 1 for digit d.
const ALL: u16 = 0x1ff;

/// A position of the search.
#[derive(Clone, Copy)]
pub(super) struct Board {
    /// Digits that a row, column or box still lacks: units 0-8, 9-17, 18-26.
    open: [u16; 27],
    /// 0 where undecided.
    digits: [u8; 81],
    blanks: u8,
}

/// A depth-first search for up to `limit` solutions.
pub(super) struct Search {
    pub found: Vec<Grid>,
    /// Values tried where singles did not decide.
    pub guesses: u32,
    limit: usize,
    /// Guesses after which it ends.
    most: u32,
}

/// Order in which the candidates (a mask) of a cell are tried: returns the next one as a mask of one bit.
pub(super) type Choice<'a> = &'a mut dyn FnMut(u16) -> u16;

/// The smallest candidate first.
pub(super) fn first_of(candidates: u16) -> u16 {
    candidates & candidates.wrapping_neg()
}

impl Board {
    /// The puzzle's position; nothing if its givens break the rules.
    pub fn new(puzzle: &Grid) -> Option<Self> {
        let mut board = Self { open: [ALL; 27], digits: [0; 81], blanks: 81 };
        for (cell, digit) in puzzle.cells().iter().enumerate() {
            if *digit != 0 {
                let bit = 1 << (digit - 1);
                if board.candidates(cell) & bit == 0 {
                    return None;
                }
                board.place(cell, bit);
            }
        }
        Some(board)
    }

    fn candidates(&self, cell: usize) -> u16 {
        self.open[cell / 9] & self.open[9 + cell % 9] & self.open[18 + box_of(cell)]
    }

    fn place(&mut self, cell: usize, bit: u16) {
        self.open[cell / 9] &= !bit;
        self.open[9 + cell % 9] &= !bit;
        self.open[18 + box_of(cell)] &= !bit;
        self.digits[cell] = bit.trailing_zeros() as u8 + 1;
        self.blanks -= 1;
    }

    /// Places cells with one candidate and digits with one place until there are none.
    ///
    /// Returns the cell with fewest candidates, or nothing after a contradiction; 81 when the board is full.
    fn place_singles(&mut self) -> Option<usize> {
        loop {
            let before = self.blanks;
            let (mut fewest, mut cell_of_fewest) = (10, 81);
            for cell in 0..81 {
                if self.digits[cell] != 0 {
                    continue;
                }
                let candidates = self.candidates(cell);
                match candidates.count_ones() {
                    0 => return None,
                    1 => self.place(cell, candidates),
                    n if n < fewest => (fewest, cell_of_fewest) = (n, cell),
                    _ => {}
                }
            }
            if self.blanks == before {
                if !self.place_hidden_singles()? {
                    return Some(cell_of_fewest);
                }
            } else if self.blanks == 0 {
                return Some(81);
            }
        }
    }

    /// Places every digit that has one place left in a unit; nothing after a contradiction.
    fn place_hidden_singles(&mut self) -> Option<bool> {
        let mut placed = false;
        for (unit, cells) in UNITS.iter().enumerate() {
            let (mut once, mut twice) = (0, 0);
            for cell in cells {
                if self.digits[usize::from(*cell)] == 0 {
                    let candidates = self.candidates(usize::from(*cell));
                    twice |= once & candidates;
                    once |= candidates;
                }
            }
            if once != self.open[unit] {
                return None;
            }
            let mut hidden = once & !twice;
            while hidden != 0 {
                let bit = first_of(hidden);
                hidden &= !bit;
                let place = cells.iter().map(|c| usize::from(*c));
                let mut place = place.filter(|c| self.digits[*c] == 0 && self.candidates(*c) & bit != 0);
                let cell = place.next()?;
                drop(place);
                self.place(cell, bit);
                placed = true;
            }
        }
        Some(placed)
    }
}

impl Search {
    pub fn new(limit: usize) -> Self {
        Self { found: Vec::new(), guesses: 0, limit, most: u32::MAX }
    }

    /// Adds the solutions below `board`.
    pub fn run(&mut self, mut board: Board, choose: Choice) {
        let Some(cell) = board.place_singles() else { return };
        if cell == 81 {
            self.found.push(Grid::from_cells(board.digits).expect("digits up to 9"));
            return;
        }
        self.branch(board, cell, board.candidates(cell), choose);
    }

    /// Adds the solutions below `board` that have one of these candidates in this cell, a blank one.
    fn branch(&mut self, board: Board, cell: usize, mut candidates: u16, choose: Choice) {
        while candidates != 0 && self.found.len() < self.limit && self.guesses < self.most {
            let bit = choose(candidates);
            candidates &= !bit;
            self.guesses += 1;
            let mut next = board;
            next.place(cell, bit);
            self.run(next, choose);
        }
    }
}

/// Cells of the 27 units.
const UNITS: [[u8; 9]; 27] = {
    let mut units = [[0; 9]; 27];
    let mut i = 0;
    while i < 81 {
        units[i / 9][i % 9] = i as u8;
        units[9 + i % 9][i / 9] = i as u8;
        units[18 + box_of(i)][i / 9 % 3 * 3 + i % 3] = i as u8;
        i += 1;
    }
    units
};

#[cfg(test)]
mod tests {
    use super::*;

    const EASY: &str = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
    const EASY_SOLUTION: &str =
        "534678912672195348198342567859761423426853791713924856961537284287419635345286179";

    /// Tries digits in order, cell by cell: nothing to get wrong.
    fn brute_force(cells: &mut [u8; 81], limit: usize, found: &mut Vec<[u8; 81]>) {
        let Some(blank) = cells.iter().position(|d| *d == 0) else {
            found.push(*cells);
            return;
        };
        for digit in 1..=9 {
            let clash = |other: usize| {
                cells[other] == digit
                    && (other / 9 == blank / 9 || other % 9 == blank % 9 || box_of(other) == box_of(blank))
            };
            if found.len() < limit && !(0..81).any(clash) {
                cells[blank] = digit;
                brute_force(cells, limit, found);
                cells[blank] = 0;
            }
        }
    }

    #[test]
    fn a_search_ends_where_its_guesses_do() {
        // By Peter Norvig: no solution, and millions of guesses until that is known.
        let puzzle = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4.........";
        assert_eq!(solve_within(&Grid::parse(puzzle).unwrap(), 1000), None);
        let easy = Grid::parse(EASY).unwrap();
        assert_eq!(solve_within(&easy, 1000), Some(solve(&easy)));
        assert!(matches!(solve_within(&Grid::BLANK, 1000), Some(Solutions::Many(..))));
    }

    #[test]
    fn one_no_and_many_solutions_are_told_apart() {
        let puzzle = Grid::parse(EASY).unwrap();
        assert_eq!(solve(&puzzle), Solutions::One(Grid::parse(EASY_SOLUTION).unwrap()));
        assert!(
            matches!(solve(&Grid::BLANK), Solutions::Many(a, b) if a != b && a.is_solved() && b.is_solved())
        );
        let clash = format!("55{}", &EASY[2..]);
        assert_eq!(solve(&Grid::parse(&clash).unwrap()), Solutions::None);
        // Legal givens without a solution: the first blank of row 1 can hold nothing.
        let dead = format!("12345678.........9{}", ".".repeat(63));
        assert_eq!(solve(&Grid::parse(&dead).unwrap()), Solutions::None);
    }

    #[test]
    fn it_agrees_with_brute_force() {
        let solution = Grid::parse(EASY_SOLUTION).unwrap();
        let mut state = 1u32;
        for _ in 0..300 {
            let mut cells = *solution.cells();
            for cell in &mut cells {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 31 == 1 {
                    *cell = 0;
                }
                if state >> 22 & 0x1ff == 0 {
                    *cell = (state % 9) as u8 + 1;
                }
            }
            let puzzle = Grid::from_cells(cells).unwrap();
            let mut found = Vec::new();
            // Brute force counts only what keeps the rules; givens that clash leave it without an answer.
            if puzzle.first_conflict().is_none() {
                brute_force(&mut cells, 2, &mut found);
            }
            let expected = found.len();
            match solve(&puzzle) {
                Solutions::None => assert_eq!(expected, 0, "{}", puzzle.to_line()),
                Solutions::One(grid) => assert_eq!(found, [*grid.cells()]),
                Solutions::Many(a, b) => {
                    assert_eq!(expected, 2, "{}", puzzle.to_line());
                    assert!(a != b && a.is_solved() && b.is_solved() && a.agrees_with(&puzzle));
                }
            }
        }
    }
}
