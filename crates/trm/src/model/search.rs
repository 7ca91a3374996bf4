//! Guessing where the recursion alone leads nowhere: depth first, with the model as the only judge.
//!
//! A likely digit is taken for given and the recursion goes on. It becomes certain of more cells, until they make up the
//! solution or contradict each other: then the guess was wrong, is taken back, and the next digit of that cell is tried.
//! The rules of Sudoku are used for these two verdicts only; every digit comes from the model.

use super::argmax;
use super::budget::{Prediction, is_solution};
use super::recursion::Model;
use super::shard::Shard;
use super::states::States;
use crate::ops::Dropout;
use crate::ops::softmax;
use crate::sudoku::{CELLS, DIGITS, Grid};

/// The model is certain of a digit from this probability on.
const CERTAIN: f32 = 0.95;
/// Outer cycles in which a board must become certain of one more digit, or be guessed at.
const WINDOW: usize = 2;
/// Digits below this probability are not worth a guess.
const UNLIKELY: f32 = 1e-2;

/// Guesses until puzzle number `puzzle` of the shard is solved or `guesses` are spent; each beginning counts as one.
pub(super) fn search(model: &Model, s: &Shard, puzzle: usize, guesses: usize, prediction: &mut Prediction) {
    let config = model.config();
    let givens = s.cells[puzzle * CELLS..(puzzle + 1) * CELLS].to_vec();
    let mut own = model.shard(1, s.recording());
    own.load(model, &givens, s.first_sample + puzzle);
    let mut search = Search { model, givens: &givens, first: States::default(), left: guesses, prediction };
    // A search that ends without a solution was sure of something wrong; from elsewhere it may be wiser.
    for start in 0.. {
        if search.left == 0 || (start > 0 && config.init_noise == 0.0) {
            return;
        }
        search.left -= 1;
        let stream = start << 32 | own.first_sample as u64;
        search.first = States::initial(config, config.seed, [stream]);
        own.set_cells(model, &givens);
        if search.explore(&mut own) {
            return;
        }
    }
}

struct Search<'a> {
    model: &'a Model,
    givens: &'a [u8],
    /// Where thinking starts after every guess: a board that was thought about for long is sure of too much.
    first: States,
    /// Guesses that may still be made.
    left: usize,
    prediction: &'a mut Prediction,
}

impl Search<'_> {
    /// Thinks about the board with the guesses so far; true if that, or a further guess, solved it.
    fn explore(&mut self, s: &mut Shard) -> bool {
        self.first.parts_mut(1).for_each(|first| first.load(s));
        self.model.embed(s);
        let mut before = 0;
        // Where only the last answer of the cycles was read off in training, others mean nothing.
        let window = if self.model.is_read_out(0) { WINDOW } else { self.model.config().h_cycles };
        let board = loop {
            for _ in 0..window {
                self.model.cycle(s, 0, &Dropout::OFF);
                self.model.read_out(s);
                self.prediction.steps += 1;
                if is_solution(self.givens, &s.logits) {
                    self.prediction.solved = true;
                    self.prediction.logits = s.logits.clone();
                    return true;
                }
            }
            let board = certain_digits(&s.cells, &s.logits);
            if board.is_contradiction() {
                return false;
            }
            // As long as it makes headway it needs no guess.
            if board.givens() <= before {
                break board;
            }
            before = board.givens();
        };
        let Some((cell, digits)) = likeliest_guess(&board, &s.logits) else { return false };
        let cells = s.cells.clone();
        for digit in digits {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            self.prediction.guesses += 1;
            let mut guessed = cells.clone();
            guessed[cell] = digit;
            s.set_cells(self.model, &guessed);
            if self.explore(s) {
                return true;
            }
        }
        false
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

/// The uncertain cell with fewest likely digits, of several the one with the likeliest digit; and its digits, likeliest
/// first.
fn likeliest_guess(board: &Grid, logits: &[f32]) -> Option<(usize, Vec<u8>)> {
    let rows = logits.chunks_exact(DIGITS).enumerate().filter(|(cell, _)| board.cells()[*cell] == 0);
    let (cell, p) = rows.map(|(cell, row)| (cell, softmax(row))).min_by(|(_, p), (_, q)| {
        let likely = |p: &[f32; DIGITS]| p.iter().filter(|p| **p >= UNLIKELY).count();
        likely(p).cmp(&likely(q)).then(q[argmax(q)].total_cmp(&p[argmax(p)]))
    })?;
    let mut digits: Vec<u8> = (1..=9).filter(|digit| p[usize::from(*digit) - 1] >= UNLIKELY).collect();
    digits.sort_by(|a, b| p[usize::from(*b) - 1].total_cmp(&p[usize::from(*a) - 1]));
    Some((cell, digits))
}
