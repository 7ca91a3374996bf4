//! A batch of puzzles, and how many of its cells were predicted right.

use super::{CELLS, DIGITS};
use crate::ops::cross_entropy;

/// Puzzles and what is to be predicted for them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Digits of the puzzles, 0 where blank, `[rows, 81]`.
    pub cells: Vec<u8>,
    /// Digits of the solutions less one, `[rows, 81]`.
    pub targets: Vec<u8>,
}

impl Batch {
    /// Number of puzzles.
    pub fn rows(&self) -> usize {
        self.cells.len() / CELLS
    }
}

/// Loss and hits, summed over puzzles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Sum of the cross-entropies of all cells.
    pub loss_sum: f64,
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
        let mut tally = Self { loss_sum: cross_entropy(logits, DIGITS, targets), ..Self::default() };
        for ((logits, cells), targets) in logits
            .chunks_exact(CELLS * DIGITS)
            .zip(cells.chunks_exact(CELLS))
            .zip(targets.chunks_exact(CELLS))
        {
            let mut wrong = 0;
            for ((row, cell), target) in logits.chunks_exact(DIGITS).zip(cells).zip(targets) {
                let right = u64::from(argmax(row) == usize::from(*target));
                let blank = u64::from(*cell == 0);
                wrong += 1 - right;
                tally.blanks[0] += blank;
                tally.blanks[1] += blank * right;
            }
            tally.cells[0] += CELLS as u64;
            tally.cells[1] += CELLS as u64 - wrong;
            tally.boards[0] += 1;
            tally.boards[1] += u64::from(wrong == 0);
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
