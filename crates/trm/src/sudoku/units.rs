//! The units of a Sudoku as sets of cells, or of candidates: digits in cells.

use super::box_of;
use std::sync::{Arc, LazyLock};

/// One kind of unit: it cuts all cells, or all candidates, into sets of nine; or some candidates into sets of up to nine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// `cell`, `row`, `column` or `box`.
    pub name: &'static str,
    /// The unit of each cell or candidate.
    pub unit_of: Vec<usize>,
    /// The members of the first unit, then those of the second.
    members: Vec<usize>,
    /// Where the members of each unit begin, and where the last ones end.
    bounds: Vec<usize>,
}

impl Units {
    fn new(name: &'static str, count: usize, unit_of: Vec<usize>) -> Self {
        let mut bounds = vec![0; count + 1];
        unit_of.iter().for_each(|unit| bounds[unit + 1] += 1);
        (0..count).for_each(|unit| bounds[unit + 1] += bounds[unit]);
        let mut next = bounds.clone();
        let mut members = vec![0; unit_of.len()];
        for (t, unit) in unit_of.iter().enumerate() {
            members[next[*unit]] = t;
            next[*unit] += 1;
        }
        Self { name, unit_of, members, bounds }
    }

    /// Number of units.
    pub fn count(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The members of each unit, in their order.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        self.bounds.windows(2).map(|bounds| &self.members[bounds[0]..bounds[1]])
    }

    /// What is left of units when there are only `some` of their members, which are numbered anew: `count` units, those with a
    /// member before others.
    fn among(&self, some: &[usize], count: usize) -> Self {
        let mut number = vec![usize::MAX; self.count()];
        some.iter().for_each(|t| number[self.unit_of[*t]] = 0);
        number.iter_mut().filter(|number| **number == 0).enumerate().for_each(|(i, number)| *number = i);
        Self::new(self.name, count, some.iter().map(|t| number[self.unit_of[*t]]).collect())
    }

    /// Number of units with one of `some` among their members.
    fn count_among(&self, some: &[usize]) -> usize {
        let mut is_met = vec![false; self.count()];
        some.iter().for_each(|t| is_met[self.unit_of[*t]] = true);
        is_met.into_iter().filter(|is_met| *is_met).count()
    }

    /// Rows, columns and boxes of cells.
    pub fn of_cells() -> &'static Arc<[Self]> {
        static UNITS: LazyLock<Arc<[Units]>> = LazyLock::new(|| {
            let kind = |name, unit: fn(usize) -> usize| Units::new(name, 9, (0..81).map(unit).collect());
            Arc::new([kind("row", |c| c / 9), kind("column", |c| c % 9), kind("box", box_of)])
        });
        &UNITS
    }

    /// Units of candidates: candidate `9 c + k` is digit `k + 1` in cell c.
    ///
    /// Of the nine candidates of a cell exactly one is true, and so of the nine of a digit in a row, column or box: the
    /// four kinds are alike.
    pub fn of_candidates() -> &'static Arc<[Self]> {
        static UNITS: LazyLock<Arc<[Units]>> = LazyLock::new(|| {
            let cells = Units::new("cell", 81, (0..729).map(|t| t / 9).collect());
            let of_digits = Units::of_cells().iter().map(|kind| {
                Units::new(kind.name, 81, (0..729).map(|t| kind.unit_of[t / 9] * 9 + t % 9).collect())
            });
            std::iter::once(cells).chain(of_digits).collect()
        });
        &UNITS
    }
}

/// The candidates of a puzzle that its givens leave open: digits in blank cells that are not given in the cell's row,
/// column or box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCandidates {
    /// The open candidates in increasing order: `9 c + k` is digit `k + 1` in cell c.
    pub candidates: Vec<usize>,
    /// The units that the open candidates form, in the order of [`Units::of_candidates`]; a member is a place in
    /// `candidates`. Each given settles one unit of every kind, so 81 less the givens are left of each kind. A puzzle
    /// that contradicts itself may leave fewer of some kinds, which then have empty units behind the others.
    pub units: Arc<[Units]>,
}

impl OpenCandidates {
    /// Candidates of a board without givens.
    pub const ALL: usize = 729;

    /// The open candidates of a puzzle: `cells` are 81 digits, 0 for blanks.
    pub fn of(cells: &[u8]) -> Self {
        let kinds = Units::of_candidates();
        let mut is_settled = kinds.iter().map(|kind| vec![false; kind.count()]).collect::<Vec<_>>();
        for (cell, digit) in cells.iter().enumerate().filter(|(_, digit)| **digit > 0) {
            let given = 9 * cell + usize::from(*digit) - 1;
            kinds
                .iter()
                .zip(&mut is_settled)
                .for_each(|(kind, is_settled)| is_settled[kind.unit_of[given]] = true);
        }
        let is_open =
            |t: &usize| kinds.iter().zip(&is_settled).all(|(kind, is_settled)| !is_settled[kind.unit_of[*t]]);
        let candidates: Vec<usize> = (0..Self::ALL).filter(is_open).collect();
        let count = kinds.iter().map(|kind| kind.count_among(&candidates)).max().unwrap_or(0);
        let units = kinds.iter().map(|kind| kind.among(&candidates, count)).collect();
        Self { candidates, units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_givens_leave_open_is_what_the_rules_allow() {
        for puzzle in crate::sudoku::Generator::new(3, 22..=60)
            .generate_many(20, &crate::parallel::Threads::new(1))
            .unwrap()
        {
            let cells = puzzle.quiz.cells();
            let open = OpenCandidates::of(cells);
            let is_allowed = |t: &usize| {
                let (cell, digit) = (t / 9, (t % 9 + 1) as u8);
                let sees = |other: usize| {
                    cell / 9 == other / 9 || cell % 9 == other % 9 || box_of(cell) == box_of(other)
                };
                cells[cell] == 0 && (0..81).all(|other| cells[other] != digit || !sees(other))
            };
            assert_eq!(open.candidates, (0..729).filter(is_allowed).collect::<Vec<_>>());
            for (kind, all) in open.units.iter().zip(Units::of_candidates().iter()) {
                assert_eq!(kind.count(), cells.iter().filter(|digit| **digit == 0).count(), "{}", kind.name);
                for members in kind.members() {
                    let unit = |member: &usize| all.unit_of[open.candidates[*member]];
                    assert!(!members.is_empty() && members.iter().all(|m| unit(m) == unit(&members[0])));
                }
            }
        }
    }

    #[test]
    fn a_contradiction_leaves_units_without_a_candidate() {
        // The cell that sees all nine digits: 1 to 8 in its row, 9 in its column.
        let mut cells = [0; 81];
        (0..8).for_each(|c| cells[c] = c as u8 + 1);
        cells[8 + 9] = 9;
        let open = OpenCandidates::of(&cells);
        assert!(open.candidates.iter().all(|t| t / 9 != 8));
        assert!(open.units.iter().all(|kind| kind.count() == open.units[0].count()));
        assert!(open.units[0].members().last().is_some_and(<[usize]>::is_empty));
        assert!(OpenCandidates::of(&[1; 81]).candidates.is_empty());
    }

    #[test]
    fn each_is_in_one_unit_of_every_kind() {
        for (units, kinds, count) in [(Units::of_cells(), 3, 81), (Units::of_candidates(), 4, 729)] {
            assert_eq!(units.len(), kinds);
            for kind in units.iter() {
                let mut all: Vec<usize> = kind.members().flatten().copied().collect();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>(), "{}", kind.name);
                for (u, members) in kind.members().enumerate() {
                    assert_eq!(members.len(), 9);
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
