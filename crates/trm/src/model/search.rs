//! Guessing where the recursion alone leads nowhere: depth first, with the model as the only judge.
//!
//! A likely digit is taken for given and the recursion goes on. It becomes certain of more cells, until they make up the
//! solution or contradict each other: then the guess was wrong, is taken back, and the next digit of that cell is tried.
//! The rules of Sudoku are used for these two verdicts only; every digit comes from the model.

use super::budget::{Prediction, is_solution};
use super::recursion::Model;
use super::shard::Shard;
use super::{CELLS, DIGITS, argmax};
use crate::ops::Dropout;
use crate::solve::softmax;
use crate::sudoku::Grid;

/// The model is certain of a digit from this probability on.
const CERTAIN: f32 = 0.95;
/// Digits below this probability are not worth a guess.
const UNLIKELY: f32 = 1e-3;

/// Guesses until puzzle number `puzzle` of the shard is solved, or nothing likely is left, or `guesses` are spent.
pub(super) fn search(model: &Model, s: &Shard, puzzle: usize, guesses: usize, prediction: &mut Prediction) {
    if guesses == 0 {
        return;
    }
    let (config, state) = (model.config(), s.y.len() / s.puzzles);
    let (cells, states) = (puzzle * CELLS..(puzzle + 1) * CELLS, puzzle * state..(puzzle + 1) * state);
    let mut own = Shard::new(config, 1, s.recording());
    own.load(config, &s.cells[cells], s.first_sample + puzzle);
    own.y.copy_from_slice(&s.y[states.clone()]);
    own.z.copy_from_slice(&s.z[states]);
    let givens = own.cells.clone();
    Search { model, givens: &givens, left: guesses, prediction }.explore(&mut own);
}

struct Search<'a> {
    model: &'a Model,
    givens: &'a [u8],
    /// Guesses that may still be made.
    left: usize,
    prediction: &'a mut Prediction,
}

impl Search<'_> {
    /// Thinks about the board with the guesses so far; true if that, or a further guess, solved it.
    fn explore(&mut self, s: &mut Shard) -> bool {
        self.model.embed(s);
        let mut before = 0;
        let board = loop {
            for _ in 0..self.model.config().h_cycles {
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
        let (cells, y, z) = (s.cells.clone(), s.y.clone(), s.z.clone());
        for digit in digits {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            self.prediction.guesses += 1;
            let mut guessed = cells.clone();
            guessed[cell] = digit;
            s.set_cells(self.model.config(), &guessed);
            s.y.copy_from_slice(&y);
            s.z.copy_from_slice(&z);
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

/// The uncertain cell with the likeliest digit, and its digits, likeliest first.
fn likeliest_guess(board: &Grid, logits: &[f32]) -> Option<(usize, Vec<u8>)> {
    let rows = logits.chunks_exact(DIGITS).enumerate().filter(|(cell, _)| board.cells()[*cell] == 0);
    let (cell, p) = rows
        .map(|(cell, row)| (cell, softmax(row)))
        .max_by(|(_, p), (_, q)| p[argmax(p)].total_cmp(&q[argmax(q)]))?;
    let mut digits: Vec<u8> = (1..=9).filter(|digit| p[usize::from(*digit) - 1] >= UNLIKELY).collect();
    digits.sort_by(|a, b| p[usize::from(*b) - 1].total_cmp(&p[usize::from(*a) - 1]));
    Some((cell, digits))
}
