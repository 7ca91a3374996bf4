//! The symmetries of Sudoku: what maps every puzzle to one that is as hard.

use super::grid::Grid;
use rand::{Rng, seq::SliceRandom};

/// A relabelling of the digits, a permutation of rows and columns that keeps bands and stacks together, and possibly a
/// reflection in the diagonal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    /// Cell of the old board that each cell of the new board shows.
    source: [u8; 81],
    /// New name of each digit; blank stays blank.
    digits: [u8; 10],
}

impl Symmetry {
    /// A random symmetry out of the 9! * 6^8 * 2, all equally likely.
    pub fn random(rng: &mut impl Rng) -> Self {
        let rows = lines(rng);
        let cols = lines(rng);
        let transpose = rng.next_u32() & 1 == 1;
        let mut digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        digits[1..].shuffle(rng);
        let source = std::array::from_fn(|cell| {
            let (row, col) = if transpose { (cell % 9, cell / 9) } else { (cell / 9, cell % 9) };
            9 * rows[row] + cols[col]
        });
        Self { source, digits }
    }

    /// The board seen through this symmetry.
    pub fn apply(&self, grid: &Grid) -> Grid {
        let old = grid.cells();
        let new = self.source.map(|cell| self.digits[usize::from(old[usize::from(cell)])]);
        Grid::from_cells(new).expect("digits stay digits")
    }

    /// The symmetry that undoes this one.
    pub fn inverse(&self) -> Self {
        let mut inverse = self.clone();
        for (new, old) in (0..).zip(self.source) {
            inverse.source[usize::from(old)] = new;
        }
        for (old, new) in (0..).zip(self.digits) {
            inverse.digits[usize::from(new)] = old;
        }
        inverse
    }
}

/// A permutation of nine rows that permutes the bands, and the rows in each.
fn lines(rng: &mut impl Rng) -> [u8; 9] {
    let mut bands = [0, 1, 2];
    bands.shuffle(rng);
    let mut lines = [0; 9];
    for (target, band) in lines.chunks_exact_mut(3).zip(bands) {
        let mut rows = [3 * band, 3 * band + 1, 3 * band + 2];
        rows.shuffle(rng);
        target.copy_from_slice(&rows);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::solve;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn symmetries_commute_with_solving_and_can_be_undone() {
        let line = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79";
        let puzzle = Grid::parse(line).unwrap();
        let solution = solve(&puzzle).unique().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..100 {
            let symmetry = Symmetry::random(&mut rng);
            let moved = symmetry.apply(&puzzle);
            assert_ne!(moved, puzzle);
            assert_eq!(solve(&moved).unique(), Some(symmetry.apply(&solution)));
            assert_eq!(symmetry.inverse().apply(&moved), puzzle);
        }
    }
}
