//! The units of a Sudoku as sets of nine cells, or of nine candidates: digits in cells.

use super::box_of;
use std::sync::LazyLock;

/// One kind of unit: it cuts all cells, or all candidates, into sets of nine.
#[derive(Clone, Debug)]
pub struct Units {
    /// `cell`, `row`, `column` or `box`.
    pub name: &'static str,
    /// The nine members of each unit.
    pub members: Vec<[usize; 9]>,
    /// The unit of each cell or candidate.
    pub unit_of: Vec<usize>,
}

impl Units {
    fn new(name: &'static str, count: usize, unit: impl Fn(usize) -> usize) -> Self {
        let unit_of: Vec<usize> = (0..count).map(unit).collect();
        let members = (0..count / 9)
            .map(|u| {
                let mut members = (0..count).filter(|t| unit_of[*t] == u);
                std::array::from_fn(|_| members.next().expect("a unit has nine members"))
            })
            .collect();
        Self { name, members, unit_of }
    }

    /// Rows, columns and boxes of cells.
    pub fn of_cells() -> &'static [Self] {
        static UNITS: LazyLock<Vec<Units>> = LazyLock::new(|| {
            let kind = |name, unit: fn(usize) -> usize| Units::new(name, 81, unit);
            vec![kind("row", |c| c / 9), kind("column", |c| c % 9), kind("box", box_of)]
        });
        &UNITS
    }

    /// Units of candidates: candidate `9 c + k` is digit `k + 1` in cell c.
    ///
    /// Of the nine candidates of a cell exactly one is true, and so of the nine of a digit in a row, column or box: the
    /// four kinds are alike.
    pub fn of_candidates() -> &'static [Self] {
        static UNITS: LazyLock<Vec<Units>> = LazyLock::new(|| {
            let mut kinds = vec![Units::new("cell", 729, |t| t / 9)];
            kinds.extend(
                Units::of_cells()
                    .iter()
                    .map(|of_cells| Units::new(of_cells.name, 729, |t| of_cells.unit_of[t / 9] * 9 + t % 9)),
            );
            kinds
        });
        &UNITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_one_unit_of_every_kind() {
        for (units, kinds, count) in [(Units::of_cells(), 3, 81), (Units::of_candidates(), 4, 729)] {
            assert_eq!(units.len(), kinds);
            for kind in units {
                let mut all: Vec<usize> = kind.members.iter().flatten().copied().collect();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{}", kind.name);
                for (u, members) in kind.members.iter().enumerate() {
                    assert!(members.iter().all(|t| kind.unit_of[*t] == u));
                }
            }
        }
    }

    #[test]
    fn candidates_that_exclude_each_other_share_a_unit() {
        // 5 in row 1, column 2 excludes 7 in that cell, and 5 in the same row, column and box.
        let candidate = |row: usize, column: usize, digit: usize| 9 * (9 * row + column) + digit - 1;
        let a = candidate(0, 1, 5);
        let share =
            |b| Units::of_candidates().iter().map(|k| k.unit_of[a] == k.unit_of[b]).collect::<Vec<_>>();
        assert_eq!(share(candidate(0, 1, 7)), [true, false, false, false]);
        assert_eq!(share(candidate(0, 8, 5)), [false, true, false, false]);
        assert_eq!(share(candidate(8, 1, 5)), [false, false, true, false]);
        assert_eq!(share(candidate(2, 2, 5)), [false, false, false, true]);
        assert_eq!(share(candidate(0, 8, 7)), [false; 4]);
    }
}
