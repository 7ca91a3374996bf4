//! Hard puzzles from hard puzzles, the same for a seed on every machine; never one that is known, however it is turned.

use super::generator::{dig, random_solution_of};
use super::grid::Grid;
use super::{Puzzle, Solutions, canonical, canonical_forms, grade, solve};
use crate::parallel::Threads;
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// Clues that a parent loses. Each further one makes hard puzzles rarer: of what is made from very hard parents,
/// 11 % needs 20 guesses with one, 5 % with two, 3 % with three.
const DROPPED: RangeInclusive<usize> = 1..=2;
/// Tries of one call, and how many a worker takes at a time.
const BATCH: u64 = 1024;
const PART: u64 = 8;
/// Tries without a new puzzle before giving up.
const IN_VAIN: u64 = 20 * BATCH;

/// Makes puzzles of a wanted grade out of other puzzles, the parents. Try number i is a function of the seed, the
/// parents and i: a parent loses clues, gets other clues until it has one solution again, and then loses the redundant
/// clues.
///
/// No two puzzles that it makes are symmetric images of each other, nor is one that of a parent.
#[derive(Clone, Debug)]
pub struct Hardener {
    seed: u64,
    guesses: RangeInclusive<u32>,
    parents: Vec<Grid>,
    /// Canonical forms of all that is not to be made again.
    known: HashSet<Grid>,
    tries: u64,
    in_vain: u64,
}

/// Nothing new was found for a long time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the last {IN_VAIN} tries made no new puzzle with {} to {} guesses; give more or harder puzzles to start from, \
     or allow more grades",
    guesses.start(), guesses.end()
)]
pub struct HardenError {
    guesses: RangeInclusive<u32>,
}

impl Hardener {
    /// Makes puzzles that need this many guesses (see [`grade`]); the parents count as known.
    pub fn new(seed: u64, parents: Vec<Grid>, guesses: RangeInclusive<u32>, threads: &Threads) -> Self {
        let known = canonical_forms(&parents, threads).into_iter().collect();
        Self { seed, guesses, parents, known, tries: 0, in_vain: 0 }
    }

    /// Never makes one of these puzzles, nor a symmetric image of one.
    pub fn exclude(&mut self, quizzes: &[Grid], threads: &Threads) {
        self.known.extend(canonical_forms(quizzes, threads));
    }

    /// The puzzles that the next tries make, some dozen or none, in order and the same on any number of threads.
    ///
    /// # Errors
    /// Nothing new for a long time.
    pub fn more(&mut self, threads: &Threads) -> Result<Vec<Puzzle>, HardenError> {
        let batch = self.tries..self.tries + BATCH;
        let mut parts: Vec<_> = batch.step_by(PART as usize).map(|first| (first, Vec::new())).collect();
        threads.for_each(parts.iter_mut().collect(), |(first, made): &mut (u64, Vec<_>)| {
            let puzzles = (*first..*first + PART).filter_map(|index| self.make(index));
            made.extend(puzzles.map(|puzzle| (canonical(&puzzle.quiz), puzzle)));
        });
        self.tries += BATCH;
        let made = parts.into_iter().flat_map(|(_, made)| made);
        let new: Vec<Puzzle> =
            made.filter_map(|(form, puzzle)| self.known.insert(form).then_some(puzzle)).collect();
        self.in_vain = if new.is_empty() { self.in_vain + BATCH } else { 0 };
        match self.in_vain >= IN_VAIN {
            true => Err(HardenError { guesses: self.guesses.clone() }),
            false => Ok(new),
        }
    }

    /// Try number `index`: nothing if what it makes has another grade than is wanted.
    fn make(&self, index: u64) -> Option<Puzzle> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let mut quiz = *self.parents.choose(&mut rng)?;
        let mut givens: Vec<usize> = (0..81).filter(|cell| quiz.cells()[*cell] != 0).collect();
        let dropped = rng.random_range(DROPPED);
        for cell in givens.partial_shuffle(&mut rng, dropped).0 {
            quiz = quiz.with(*cell, 0);
        }
        let solution = random_solution_of(&quiz, &mut rng)?;
        let quiz = add_clues(quiz, &solution, &mut rng);
        // What is so easy with its redundant clues is seldom hard without them: where 20 guesses are wanted and one
        // clue was dropped, 4 % of it, against 23 % of the rest.
        if grade(&quiz)? < self.guesses.start() / 10 {
            return None;
        }
        let quiz = dig(&quiz, 0, &mut rng);
        self.guesses.contains(&grade(&quiz)?).then_some(Puzzle { quiz, solution })
    }
}

/// Gives away cells in which another solution differs from this one until there is no other.
fn add_clues(mut quiz: Grid, solution: &Grid, rng: &mut impl Rng) -> Grid {
    while let Solutions::Many(a, b) = solve(&quiz) {
        let other = if a == *solution { b } else { a };
        let differing: Vec<usize> =
            (0..81).filter(|cell| other.cells()[*cell] != solution.cells()[*cell]).collect();
        let Some(cell) = differing.choose(rng) else { break };
        quiz = quiz.with(*cell, solution.cells()[*cell]);
    }
    quiz
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::{Generator, Symmetry};

    /// Arto Inkala's puzzle of 2012, and one that is easier.
    fn parents() -> Vec<Grid> {
        let hard = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..";
        let easier = Generator::new(1, 22..=26).with_guesses(2..=9).generate(0).unwrap().quiz;
        vec![Grid::parse(hard).unwrap(), easier]
    }

    fn some(hardener: &mut Hardener, threads: usize) -> Vec<Puzzle> {
        hardener.more(&Threads::new(threads)).unwrap()
    }

    #[test]
    fn puzzles_are_new_minimal_of_the_wanted_grade_and_the_same_on_any_number_of_threads() {
        let hardener = |seed| Hardener::new(seed, parents(), 5..=30, &Threads::new(2));
        let puzzles = some(&mut hardener(1), 1);
        assert!(puzzles.len() > 20, "{}", puzzles.len());
        assert_eq!(puzzles, some(&mut hardener(1), 3));
        assert_ne!(puzzles, some(&mut hardener(2), 3));
        let mut forms: HashSet<Grid> = parents().iter().map(canonical).collect();
        for Puzzle { quiz, solution } in puzzles {
            assert_eq!(solve(&quiz), Solutions::One(solution));
            assert!((5..=30).contains(&grade(&quiz).unwrap()));
            assert!(forms.insert(canonical(&quiz)), "a parent or made before: {}", quiz.to_line());
            for cell in (0..81).filter(|cell| quiz.cells()[*cell] != 0) {
                assert!(
                    matches!(solve(&quiz.with(cell, 0)), Solutions::Many(..)),
                    "cell {cell} is redundant"
                );
            }
        }
    }

    #[test]
    fn an_excluded_puzzle_is_not_made_however_it_is_turned() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let threads = Threads::new(1);
        let mut hardener = Hardener::new(1, parents(), 5..=30, &threads);
        let all = some(&mut hardener.clone(), 1);
        let (excluded, rest): (Vec<Puzzle>, Vec<Puzzle>) =
            all.into_iter().partition(|_| rng.random_bool(0.5));
        let turned: Vec<Grid> = excluded.iter().map(|p| Symmetry::random(&mut rng).apply(&p.quiz)).collect();
        hardener.exclude(&turned, &threads);
        assert_eq!(some(&mut hardener, 1), rest);
    }

    #[test]
    fn it_gives_up_where_nothing_can_be_made() {
        let full = Generator::new(1, 81..=81).generate(0).unwrap().quiz;
        let illegal = full.with(0, full.cells()[1]);
        for parents in [vec![], vec![full], vec![illegal]] {
            let threads = Threads::new(1);
            let mut hardener = Hardener::new(1, parents, 40..=50, &threads);
            let error = (0..100).find_map(|_| hardener.more(&threads).err()).unwrap();
            assert!(error.to_string().contains("no new puzzle with 40 to 50 guesses"), "{error}");
        }
    }
}
