//! A batch of puzzles, and how many of its cells were predicted right.

use crate::ops::{constraint_loss, cross_entropy};
use crate::sudoku::{CELLS, DIGITS, Grid, Puzzle};

/// Puzzles, and the digits that are to be predicted for them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Digits of the puzzles, 0 where blank, `[puzzles, 81]`.
    pub cells: Vec<u8>,
    /// Digits of the solutions less one, `[puzzles, 81]`.
    pub targets: Vec<u8>,
}

impl Batch {
    /// A batch with the digits of these puzzles, and with their solutions as targets.
    pub fn of(puzzles: &[Puzzle]) -> Self {
        let mut batch = Self::default();
        for puzzle in puzzles {
            batch.cells.extend_from_slice(puzzle.quiz.cells());
            batch.targets.extend(puzzle.solution.cells().iter().map(|digit| digit - 1));
        }
        batch
    }

    /// Number of puzzles.
    pub fn puzzles(&self) -> usize {
        self.cells.len() / CELLS
    }
}

/// Loss and hits, summed over puzzles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sum of the cross-entropies of all cells.
    pub loss_sum: f64,
    /// Sums of the penalties of all boards for rows, columns and boxes.
    pub constraint_sums: [f64; 3],
    /// Conflicting predicted cells: the digit occurs again in the same row, column or box.
    pub conflicts: u64,
    /// Cells, and those predicted right.
    pub cells: [u64; 2],
    /// Blank cells, and those predicted right.
    pub blanks: [u64; 2],
    /// Boards, and those predicted right in every cell.
    pub boards: [u64; 2],
}

impl Tally {
    /// Mean cross-entropy of a cell.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.cells[0].max(1) as f64
    }

    /// Mean penalty of a board, of all three kinds together, whatever their weights in training.
    pub fn constraint_loss(&self) -> f64 {
        self.constraint_sums.iter().sum::<f64>() / self.boards[0].max(1) as f64
    }

    /// Mean number of conflicting cells of a predicted board: cells whose digit occurs again in the same row, column
    /// or box.
    pub fn conflicts_per_board(&self) -> f64 {
        self.conflicts as f64 / self.boards[0].max(1) as f64
    }

    /// Share of the cells that are right, givens included.
    pub fn cell_accuracy(&self) -> f64 {
        share(self.cells)
    }

    /// Share of the blank cells that are right.
    pub fn blank_accuracy(&self) -> f64 {
        share(self.blanks)
    }

    /// Share of the boards that are right in every cell.
    pub fn board_accuracy(&self) -> f64 {
        share(self.boards)
    }

    /// Adds the counts of other puzzles.
    pub fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.constraint_sums.iter_mut().zip(other.constraint_sums).for_each(|(mine, theirs)| *mine += theirs);
        self.conflicts += other.conflicts;
        let pairs = [
            (&mut self.cells, other.cells),
            (&mut self.blanks, other.blanks),
            (&mut self.boards, other.boards),
        ];
        for (mine, theirs) in pairs {
            mine[0] += theirs[0];
            mine[1] += theirs[1];
        }
    }

    /// Counts one shard.
    ///
    /// # Shapes
    /// `logits` is `[rows, 81, 9]`, `cells` and `targets` are `[rows, 81]`.
    pub fn of(logits: &[f32], cells: &[u8], targets: &[u8]) -> Self {
        let mut tally = Self {
            loss_sum: cross_entropy(logits, DIGITS, targets),
            constraint_sums: constraint_loss(logits),
            ..Self::default()
        };
        for ((logits, cells), targets) in logits
            .chunks_exact(CELLS * DIGITS)
            .zip(cells.chunks_exact(CELLS))
            .zip(targets.chunks_exact(CELLS))
        {
            let mut wrong = 0;
            let mut board = [0; CELLS];
            for (((row, cell), target), digit) in
                logits.chunks_exact(DIGITS).zip(cells).zip(targets).zip(&mut board)
            {
                *digit = argmax(row) as u8 + 1;
                let right = u64::from(*digit == target + 1);
                let blank = u64::from(*cell == 0);
                wrong += 1 - right;
                tally.blanks[0] += blank;
                tally.blanks[1] += blank * right;
            }
            tally.cells[0] += CELLS as u64;
            tally.cells[1] += CELLS as u64 - wrong;
            tally.boards[0] += 1;
            tally.boards[1] += u64::from(wrong == 0);
            tally.conflicts += Grid::from_cells(board).map_or(0, |board| board.conflicts().len() as u64);
        }
        tally
    }
}

/// Whether each board is right in every cell.
///
/// # Shapes
/// `logits` is `[rows, 81, 9]`, `targets` is `[rows, 81]`.
pub fn right_boards(logits: &[f32], targets: &[u8]) -> impl Iterator<Item = bool> {
    logits.chunks_exact(CELLS * DIGITS).zip(targets.chunks_exact(CELLS)).map(|(logits, targets)| {
        let mut cells = logits.chunks_exact(DIGITS).zip(targets);
        cells.all(|(row, target)| argmax(row) == usize::from(*target))
    })
}

fn share([all, right]: [u64; 2]) -> f64 {
    if all == 0 { 0.0 } else { right as f64 / all as f64 }
}

/// Index of the largest value; the first of several.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_of_a_prediction_are_counted_cell_by_cell() {
        let solution = b"864371259325849761971265843436192587198657432257483916689734125713528694542916378";
        let tally = |digits: &[u8]| {
            let row = |digit: &u8| -> [f32; 9] {
                std::array::from_fn(|k| if b'1' + k as u8 == *digit { 9.0 } else { 0.0 })
            };
            let logits: Vec<f32> = digits.iter().flat_map(row).collect();
            Tally::of(&logits, &[0; CELLS], &solution.map(|digit| digit - b'1'))
        };
        assert_eq!(tally(solution).conflicts, 0);
        // 8 and 6 swapped: each then stands twice in its new column.
        let mut swapped = *solution;
        swapped.swap(0, 1);
        let mut both = tally(&swapped);
        assert_eq!((both.conflicts, both.cells), (4, [81, 79]));
        both.add(&tally(solution));
        assert_eq!(both.conflicts_per_board(), 2.0);
        assert!((both.constraint_loss() - tally(&swapped).constraint_loss() / 2.0).abs() < 1e-5);
        assert!(both.constraint_loss() > 0.02);
    }
}
