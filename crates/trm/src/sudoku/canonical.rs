//! One name for all puzzles that are the same up to the symmetries of Sudoku.

use super::grid::Grid;
use crate::parallel::Threads;

/// The smallest of all boards that the [symmetries](super::Symmetry) make of this one, blanks counting as 0: two boards
/// have the same canonical form exactly if one is a symmetric image of the other.
///
/// A row to come first and an order of the columns are chosen so that the first row is smallest. All choices that do so
/// equally well are extended row by row, and only those with the smallest next row are kept. Digits are named 1, 2,
/// 3, ... as they appear: no other naming is smaller.
pub fn canonical(grid: &Grid) -> Grid {
    let cells = grid.cells();
    let boards = [Lines::new(|row, col| cells[9 * row + col]), Lines::new(|row, col| cells[9 * col + row])];
    let (mut canonical, mut arrangements) = ([0; 81], starts(&boards));
    let mut extended = Vec::new();
    for target in canonical.chunks_exact_mut(9) {
        let mut smallest = [u8::MAX; 9];
        for arrangement in &arrangements {
            for row in (0..9).filter(|row| arrangement.next_rows >> row & 1 == 1) {
                let (digits, next) = arrangement.with_row(row);
                if digits < smallest {
                    smallest = digits;
                    extended.clear();
                }
                if digits == smallest {
                    extended.push(next);
                }
            }
        }
        target.copy_from_slice(&smallest);
        std::mem::swap(&mut arrangements, &mut extended);
        extended.clear();
    }
    Grid::from_cells(canonical).expect("digits named 1 to 9")
}

/// The canonical forms of many boards, in order.
pub fn canonical_forms(grids: &[Grid], threads: &Threads) -> Vec<Grid> {
    let mut forms = grids.to_vec();
    threads.for_each(forms.chunks_mut(256).collect(), |part: &mut [Grid]| {
        part.iter_mut().for_each(|grid| *grid = canonical(grid));
    });
    forms
}

/// The orders of three things.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A board, upright or reflected in its diagonal.
struct Lines {
    rows: [[u8; 9]; 9],
    /// Bit i where row i is empty. Swapping two empty rows of a band changes nothing: they are used in one order only.
    empty_rows: u16,
    /// Bit i where column i is empty. Swapping two empty columns of a stack changes nothing.
    empty_columns: u16,
}

impl Lines {
    fn new(cell: impl Fn(usize, usize) -> u8) -> Self {
        let rows: [[u8; 9]; 9] = std::array::from_fn(|row| std::array::from_fn(|col| cell(row, col)));
        let mask = |empty: &dyn Fn(usize) -> bool| (0..9).map(|i| u16::from(empty(i)) << i).sum();
        Self {
            empty_rows: mask(&|i| rows[i] == [0; 9]),
            empty_columns: mask(&|i| rows.iter().all(|row| row[i] == 0)),
            rows,
        }
    }

    /// Rows that may stand next, as a mask: a band that was begun is finished first.
    fn next_rows(&self, used: u16) -> u16 {
        let begun =
            [0b111, 0b111 << 3, 0b111 << 6].into_iter().find(|band| ![0, *band].contains(&(used & band)));
        let free = begun.unwrap_or(0x1ff) & !used;
        let empty = free & self.empty_rows;
        let behind_another = empty << 1 & 0b110_110_110 | empty << 2 & 0b100_100_100;
        free & !(empty & behind_another)
    }

    /// Number of givens that a row has in each stack.
    fn givens(&self, row: usize) -> [usize; 3] {
        std::array::from_fn(|stack| self.rows[row][3 * stack..][..3].iter().filter(|d| **d != 0).count())
    }

    /// Orders of the columns of a stack in which a row has its blanks first.
    fn column_orders(&self, row: usize, stack: usize) -> Vec<[usize; 3]> {
        let is_empty = |column: usize| self.empty_columns >> column & 1 == 1;
        let fits = |left: usize, right: usize| {
            let blank_first = self.rows[row][left] == 0 || self.rows[row][right] != 0;
            blank_first && !(is_empty(left) && is_empty(right) && left > right)
        };
        let orders = ORDERS.into_iter().map(|order| order.map(|i| 3 * stack + i));
        orders.filter(|[a, b, c]| fits(*a, *b) && fits(*a, *c) && fits(*b, *c)).collect()
    }
}

/// The choices of a first row and of an order of the columns that make the first row smallest.
fn starts(boards: &[Lines; 2]) -> Vec<Arrangement<'_>> {
    let sorted = |mut givens: [usize; 3]| {
        givens.sort_unstable();
        givens
    };
    let rows = boards.iter().flat_map(|board| (0..9).map(move |row| (board, row)));
    let fewest = rows.clone().map(|(board, row)| sorted(board.givens(row))).min();
    let mut starts = Vec::new();
    for (board, row) in rows.filter(|(board, row)| board.next_rows(0) >> row & 1 == 1) {
        let givens = board.givens(row);
        if Some(sorted(givens)) != fewest {
            continue;
        }
        let orders: [_; 3] = std::array::from_fn(|stack| board.column_orders(row, stack));
        for [a, b, c] in ORDERS.into_iter().filter(|stacks| stacks.map(|s| givens[s]).is_sorted()) {
            for left in &orders[a] {
                for middle in &orders[b] {
                    for right in &orders[c] {
                        let columns = [left, middle, right];
                        let columns = std::array::from_fn(|i| columns[i / 3][i % 3] as u8);
                        starts.push(Arrangement::new(board, columns, 1 << row));
                    }
                }
            }
        }
    }
    starts
}

/// An order of the columns, the rows used so far, and the names that their digits got.
#[derive(Clone, Copy)]
struct Arrangement<'a> {
    board: &'a Lines,
    columns: [u8; 9],
    /// Masks of rows.
    used_rows: u16,
    next_rows: u16,
    /// 0 where a digit has no name yet; blank stays blank.
    names: [u8; 10],
    named: u8,
}

impl<'a> Arrangement<'a> {
    fn new(board: &'a Lines, columns: [u8; 9], next_rows: u16) -> Self {
        Self { board, columns, used_rows: 0, next_rows, names: [0; 10], named: 0 }
    }

    /// How a row looks if it comes next, and the arrangement with it.
    fn with_row(&self, row: usize) -> ([u8; 9], Self) {
        let mut next = *self;
        let digits = self.columns.map(|column| {
            let digit = self.board.rows[row][usize::from(column)];
            let name = &mut next.names[usize::from(digit)];
            if digit != 0 && *name == 0 {
                next.named += 1;
                *name = next.named;
            }
            *name
        });
        next.used_rows |= 1 << row;
        next.next_rows = self.board.next_rows(next.used_rows);
        (digits, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::{Generator, Symmetry};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashSet;

    /// Arto Inkala's puzzle of 2012.
    const HARD: &str = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";

    /// Every order of nine lines that keeps bands together.
    fn line_orders() -> Vec<[usize; 9]> {
        let mut lines = Vec::new();
        for bands in ORDERS {
            for inside in 0..216 {
                let inside = [ORDERS[inside / 36], ORDERS[inside / 6 % 6], ORDERS[inside % 6]];
                lines.push(std::array::from_fn(|i| 3 * bands[i / 3] + inside[i / 3][i % 3]));
            }
        }
        lines
    }

    /// Looks at all 2 * 6^8 arrangements, each as far as it may still be the smallest.
    fn brute_force(grid: &Grid) -> Grid {
        let orders = line_orders();
        let mut smallest = [9; 81];
        for (rows, columns, reflected) in orders.iter().flat_map(|rows| {
            orders.iter().flat_map(move |columns| [(rows, columns, false), (rows, columns, true)])
        }) {
            let (mut names, mut named) = ([0; 10], 0);
            let mut image = [0; 81];
            let mut smaller = false;
            for i in 0..81 {
                let (row, column) = (rows[i / 9], columns[i % 9]);
                let cell = if reflected { 9 * column + row } else { 9 * row + column };
                let digit = usize::from(grid.cells()[cell]);
                if digit != 0 && names[digit] == 0 {
                    named += 1;
                    names[digit] = named;
                }
                image[i] = names[digit];
                smaller |= image[i] < smallest[i];
                if !smaller && image[i] > smallest[i] {
                    break;
                }
            }
            if smaller {
                smallest = image;
            }
        }
        Grid::from_cells(smallest).unwrap()
    }

    /// Puzzles of many kinds: hard, easy, with empty lines, full, with few givens, blank.
    fn boards() -> Vec<Grid> {
        let hard = Grid::parse(HARD).unwrap();
        let mut boards = vec![hard, Grid::BLANK];
        for (index, givens) in [(0, 22), (1, 30), (2, 50), (3, 81)] {
            boards.push(Generator::new(1, givens..=givens + 6).generate(index).unwrap().quiz);
        }
        for cleared in [0..9, 0..27, 9..63, 3..81] {
            let mut cells = *hard.cells();
            cells[cleared].fill(0);
            boards.push(Grid::from_cells(cells).unwrap());
        }
        boards
    }

    #[test]
    fn it_is_the_smallest_of_all_images() {
        for board in boards() {
            assert_eq!(canonical(&board).to_line(), brute_force(&board).to_line(), "{}", board.to_line());
        }
    }

    #[test]
    fn images_share_it_and_other_boards_do_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let boards = boards();
        for board in &boards {
            for _ in 0..50 {
                assert_eq!(canonical(&Symmetry::random(&mut rng).apply(board)), canonical(board));
            }
            assert_eq!(canonical(&canonical(board)), canonical(board));
        }
        let forms: HashSet<Grid> = boards.iter().map(canonical).collect();
        assert_eq!(forms.len(), boards.len());
    }
}
