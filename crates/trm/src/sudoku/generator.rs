//! Puzzles with one solution and a wanted number of givens or guesses, the same for a seed on every machine.

use super::grid::Grid;
use super::solver::{Board, Search, is_forced};
use super::{Puzzle, grade};
use crate::parallel::Threads;
use rand::{Rng, RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};

/// Boards that are tried for one puzzle before giving up.
const ATTEMPTS: usize = 2000;

/// Makes puzzles; puzzle number i is a function of the seed and i.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    givens: RangeInclusive<usize>,
    guesses: Option<RangeInclusive<u32>>,
}

/// No puzzle of the wanted kind was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found no puzzle with {} to {} givens{} on {ATTEMPTS} boards; ask for more givens or an easier grade",
    givens.start(), givens.end(),
    guesses.as_ref().map_or(String::new(), |g| format!(" and {} to {} guesses", g.start(), g.end()))
)]
pub struct GenerateError {
    givens: RangeInclusive<usize>,
    guesses: Option<RangeInclusive<u32>>,
}

impl Generator {
    /// Puzzles with a number of givens in this range, each number equally likely as far as boards allow.
    pub fn new(seed: u64, givens: RangeInclusive<usize>) -> Self {
        Self { seed, givens, guesses: None }
    }

    /// Keeps only puzzles that need this many guesses (see [`grade`]).
    pub fn with_guesses(self, guesses: RangeInclusive<u32>) -> Self {
        Self { guesses: Some(guesses), ..self }
    }

    /// Puzzle number `index`.
    ///
    /// # Errors
    /// Nothing of the wanted kind was found in a bounded number of tries.
    pub fn generate(&self, index: u64) -> Result<Puzzle, GenerateError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        for _ in 0..ATTEMPTS {
            let solution = random_solution(&mut rng);
            let wanted = rng.random_range(self.givens.clone());
            let quiz = dig(&solution, wanted, &mut rng);
            let graded = |range: &RangeInclusive<u32>| grade(&quiz).is_some_and(|g| range.contains(&g));
            if self.givens.contains(&quiz.givens()) && self.guesses.as_ref().is_none_or(graded) {
                return Ok(Puzzle { quiz, solution });
            }
        }
        Err(GenerateError { givens: self.givens.clone(), guesses: self.guesses.clone() })
    }

    /// Puzzles 0 to `count`, in order.
    ///
    /// # Errors
    /// The first that could not be made.
    pub fn generate_many(&self, count: usize, threads: &Threads) -> Result<Vec<Puzzle>, GenerateError> {
        const PART: usize = 64;
        let mut parts: Vec<_> = (0..count).step_by(PART).map(|first| (first, Ok(Vec::new()))).collect();
        // What cannot be found once is not searched for again and again.
        let failed = AtomicBool::new(false);
        threads.for_each(
            parts.iter_mut().collect(),
            |(first, part): &mut (usize, Result<Vec<Puzzle>, _>)| {
                if !failed.load(Ordering::Relaxed) {
                    *part = (*first..(*first + PART).min(count))
                        .map(|index| self.generate(index as u64))
                        .collect();
                    failed.fetch_or(part.is_err(), Ordering::Relaxed);
                }
            },
        );
        let mut puzzles = Vec::with_capacity(count);
        for (_, part) in parts {
            puzzles.extend(part?);
        }
        Ok(puzzles)
    }
}

/// A full board: the boxes on the diagonal at random, the rest by a search that tries candidates at random.
fn random_solution(rng: &mut impl Rng) -> Grid {
    let mut cells = [0; 81];
    for diagonal_box in 0..3 {
        let mut digits = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        digits.shuffle(rng);
        for (i, digit) in digits.into_iter().enumerate() {
            cells[30 * diagonal_box + i / 3 * 9 + i % 3] = digit;
        }
    }
    let diagonal = Grid::from_cells(cells).expect("digits");
    random_solution_of(&diagonal, rng).expect("boxes on the diagonal can always be completed")
}

/// A solution, found by a search that tries candidates at random; nothing if the puzzle has none.
pub(super) fn random_solution_of(puzzle: &Grid, rng: &mut impl Rng) -> Option<Grid> {
    let mut search = Search::new(1);
    search.run(Board::new(puzzle)?, &mut |candidates| {
        let skip = rng.random_range(0..candidates.count_ones());
        let mut rest = candidates;
        (0..skip).for_each(|_| rest &= rest - 1);
        rest & rest.wrapping_neg()
    });
    search.found.pop()
}

/// Clears cells in random order, as long as the solution stays the only one, until `wanted` givens are left.
pub(super) fn dig(quiz: &Grid, wanted: usize, rng: &mut impl Rng) -> Grid {
    let mut order: [usize; 81] = std::array::from_fn(|i| i);
    order.shuffle(rng);
    let mut quiz = *quiz;
    let mut left = quiz.givens();
    for cell in order {
        let digit = quiz.cells()[cell];
        if left <= wanted {
            break;
        }
        let without = quiz.with(cell, 0);
        if digit != 0 && is_forced(&without, cell, digit) {
            quiz = without;
            left -= 1;
        }
    }
    quiz
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::solve;

    #[test]
    fn puzzles_are_unique_in_range_and_repeatable_on_any_number_of_threads() {
        let generator = Generator::new(7, 30..=36);
        let puzzles = generator.generate_many(150, &Threads::new(1)).unwrap();
        assert_eq!(puzzles, generator.generate_many(150, &Threads::new(3)).unwrap());
        assert_ne!(puzzles[0], Generator::new(8, 30..=36).generate(0).unwrap());
        for puzzle in &puzzles {
            puzzle.check().unwrap();
            assert_eq!(solve(&puzzle.quiz), super::super::Solutions::One(puzzle.solution));
            assert!((30..=36).contains(&puzzle.quiz.givens()));
        }
        let solutions: std::collections::HashSet<_> = puzzles.iter().map(|p| p.solution).collect();
        assert_eq!(solutions.len(), puzzles.len(), "every puzzle has a board of its own");
    }

    #[test]
    fn a_wanted_grade_is_met() {
        let generator = Generator::new(1, 22..=30).with_guesses(2..=4);
        for index in 0..5 {
            assert!((2..=4).contains(&grade(&generator.generate(index).unwrap().quiz).unwrap()));
        }
    }

    #[test]
    fn what_cannot_be_found_is_an_error() {
        let error = Generator::new(1, 60..=70).with_guesses(5..=9).generate(0).unwrap_err();
        assert!(error.to_string().contains("60 to 70 givens and 5 to 9 guesses"), "{error}");
    }
}
