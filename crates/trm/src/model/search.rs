//! Guessing where the recursion alone leads nowhere: depth first, with the model as the only judge.
//!
//! A likely digit is taken for given and the recursion goes on. It becomes certain of more cells, until they make up the
//! solution or contradict each other: then the guess was wrong, is taken back, and the next digit of that cell is tried.
//! The rules of Sudoku are used for these two verdicts only; every digit comes from the model.

use super::argmax;
use super::budget::{Budget, Prediction};
use super::observer::{Failure, Guess, GuessReason, Moment, SearchReason, Watch};
use super::streams::stream;
use super::trajectory::{Recursion, cycle};
use crate::ops::softmax;
use crate::sudoku::{CELLS, Contradiction, DIGITS, Grid};

/// The model is certain of a digit from this probability on.
const CERTAIN: f32 = 0.95;
/// Outer cycles in which a board must become certain of one more digit, or be guessed at.
const WINDOW: usize = 2;
/// Digits below this probability are not worth a guess.
const UNLIKELY: f32 = 1e-2;

/// Guesses at the only puzzle of `r` until it is solved or the guesses of `budget` are spent; each beginning counts as one.
pub(super) fn search<R: Recursion>(
    budget: &Budget,
    mut r: R,
    prediction: &mut Prediction,
    watch: &mut Watch<'_>,
) {
    let givens = r.cells().to_vec();
    let is_random = r.is_random();
    let mut left = budget.guesses;
    // A search that ends without a solution was sure of something wrong; from elsewhere it may be wiser.
    for start in 0.. {
        if left == 0 || (start > 0 && !is_random) {
            return;
        }
        left -= 1;
        let why = if start == 0 { SearchReason::Unsolved } else { SearchReason::SearchFailed };
        watch.show(|| Moment::SearchBegun { start, why });
        let first = r.first_states(budget.seed, &[stream(&givens, start)]);
        r.set_cells(&givens);
        let mut search = Search { givens: &givens, first, left, prediction, watch };
        let failure = search.explore(&mut r, 0).err();
        left = search.left;
        watch.show(|| Moment::SearchEnded { start, failure: failure.as_ref() });
        if failure.is_none() {
            return;
        }
    }
}

struct Search<'a, 'w, R: Recursion> {
    givens: &'a [u8],
    /// Where thinking starts after every guess: a board that was thought about for long is sure of too much.
    first: R::States,
    /// Guesses that may still be made.
    left: usize,
    prediction: &'a mut Prediction,
    watch: &'a mut Watch<'w>,
}

impl<R: Recursion> Search<'_, '_, R> {
    /// Thinks about the board with the `depth` guesses so far, and makes further ones, until it is solved or that failed.
    fn explore(&mut self, r: &mut R, depth: usize) -> Result<(), Failure> {
        // Where only the last answer of the cycles was read off in training, others mean nothing.
        let window = if r.is_read_out(0) { WINDOW } else { r.segment() };
        let Some(board) = self.think(r, window)? else { return Ok(()) };
        let Some((cell, digits)) = likeliest_guess(&board, r.logits()) else {
            return Err(Failure::NothingUncertain);
        };
        let cells = r.cells().to_vec();
        let mut why = GuessReason::NoHeadway { cycles: window };
        for (digit, probability) in digits {
            if self.left == 0 {
                return Err(Failure::GuessesSpent);
            }
            self.left -= 1;
            self.prediction.guesses += 1;
            let guess = Guess { depth: depth + 1, cell, digit, probability };
            self.watch.show(|| Moment::GuessBegun { guess, why });
            let mut guessed = cells.clone();
            guessed[cell] = digit;
            r.set_cells(&guessed);
            match self.explore(r, depth + 1) {
                Ok(()) => return Ok(()),
                Err(failure) => self.watch.show(|| Moment::GuessTakenBack { guess, why: &failure }),
            }
            why = GuessReason::TakenBack { digit };
        }
        Err(Failure::NoDigitLeft { cell })
    }

    /// Thinks until the answer is a solution or makes no more headway, then with the digits that it is certain of.
    fn think(&mut self, r: &mut R, window: usize) -> Result<Option<Grid>, Failure> {
        r.begin(&mut self.first);
        let mut before = 0;
        loop {
            for _ in 0..window {
                cycle(r, self.givens, std::slice::from_mut(self.prediction), true, self.watch);
                if self.prediction.solved {
                    return Ok(None);
                }
            }
            let board = certain_digits(r.cells(), r.logits());
            if let Some(contradiction) = Contradiction::of(&board) {
                return Err(Failure::Contradiction { contradiction });
            }
            // As long as it makes headway it needs no guess.
            if board.givens() <= before {
                return Ok(Some(board));
            }
            before = board.givens();
        }
    }
}

/// The givens, guessed ones included, and all digits that the model is certain of.
fn certain_digits(cells: &[u8], logits: &[f32]) -> Grid {
    let mut digits = [0; CELLS];
    for ((digit, given), row) in digits.iter_mut().zip(cells).zip(logits.chunks_exact(DIGITS)) {
        let likeliest = argmax(row);
        *digit = match given {
            0 if softmax(row)[likeliest] >= CERTAIN => likeliest as u8 + 1,
            given => *given,
        };
    }
    Grid::from_cells(digits).expect("digits from 0 to 9")
}

/// The uncertain cell with fewest likely digits, of several the one with the likeliest digit; and its digits with their
/// probabilities, likeliest first.
fn likeliest_guess(board: &Grid, logits: &[f32]) -> Option<(usize, Vec<(u8, f32)>)> {
    let rows = logits.chunks_exact(DIGITS).enumerate().filter(|(cell, _)| board.cells()[*cell] == 0);
    let (cell, p) = rows.map(|(cell, row)| (cell, softmax(row))).min_by(|(_, p), (_, q)| {
        let likely = |p: &[f32; DIGITS]| p.iter().filter(|p| **p >= UNLIKELY).count();
        likely(p).cmp(&likely(q)).then(q[argmax(q)].total_cmp(&p[argmax(p)]))
    })?;
    let likely = (1..=9).zip(p).filter(|(_, probability)| *probability >= UNLIKELY);
    let mut digits: Vec<(u8, f32)> = likely.collect();
    digits.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    Some((cell, digits))
}
