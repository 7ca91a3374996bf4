//! Puzzles to answers: a board is called solved only after it has been checked against the rules.

use crate::model::{Budget, Prediction, Thinker, argmax};
use crate::ops::softmax;
use crate::parallel::Threads;
use crate::sudoku::{CELLS, DIGITS, Grid};
use serde::Serialize;

/// Puzzles in one prediction, a bound on the memory for logits.
const CHUNK: usize = 4096;

/// Whether the givens of the puzzle are kept in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Givens {
    /// The answer keeps the puzzle's given digits.
    Preserved,
    /// The answer is the bare prediction of all 81 cells.
    Predicted,
}

/// The answer to one puzzle, with how certain it is and whether it is right by the rules.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The puzzle.
    pub puzzle: Grid,
    /// A digit for every cell.
    pub board: Grid,
    /// The board obeys the rules and agrees with the givens. It is then a solution, whoever found it.
    pub solved: bool,
    /// Conflicting cells, from 0 to 80: the digit occurs again in the same row, column or box, or differs from the
    /// given.
    pub conflicts: Vec<usize>,
    /// Softmax of each cell's logits.
    pub probabilities: Vec<[f32; DIGITS]>,
    /// Outer cycles, all together.
    pub steps: usize,
    /// Trajectories behind the first.
    pub restarts: usize,
    /// Digits that were guessed, the wrong ones included.
    pub guesses: usize,
}

/// Answers every puzzle within `budget`.
pub fn solve(
    model: &dyn Thinker,
    puzzles: &[Grid],
    givens: Givens,
    budget: &Budget,
    threads: &Threads,
) -> Vec<Answer> {
    let (mut answers, mut predict) = (Vec::with_capacity(puzzles.len()), model.predictor());
    for chunk in puzzles.chunks(CHUNK) {
        let cells: Vec<u8> = chunk.iter().flat_map(|grid| *grid.cells()).collect();
        let predictions = predict(&cells, budget, threads);
        answers.extend(chunk.iter().zip(&predictions).map(|(puzzle, p)| Answer::of(puzzle, p, givens)));
    }
    answers
}

impl Answer {
    /// The answer to `puzzle` that a prediction makes.
    pub fn of(puzzle: &Grid, prediction: &Prediction, givens: Givens) -> Self {
        Self {
            steps: prediction.steps,
            restarts: prediction.restarts,
            guesses: prediction.guesses,
            ..Self::read(puzzle, &prediction.logits, givens)
        }
    }

    /// Reads the answer to `puzzle` off its logits, `[81, 9]`.
    pub fn read(puzzle: &Grid, logits: &[f32], givens: Givens) -> Self {
        let mut digits = *puzzle.cells();
        let mut probabilities = Vec::with_capacity(CELLS);
        for (digit, row) in digits.iter_mut().zip(logits.chunks_exact(DIGITS)) {
            if *digit == 0 || givens == Givens::Predicted {
                *digit = argmax(row) as u8 + 1;
            }
            probabilities.push(softmax(row));
        }
        let board = Grid::from_cells(digits).expect("digits from 1 to 9");
        let mut conflicts = board.conflicts();
        let changed =
            (0..CELLS).filter(|i| puzzle.cells()[*i] != 0 && puzzle.cells()[*i] != board.cells()[*i]);
        conflicts.extend(changed);
        conflicts.sort_unstable();
        conflicts.dedup();
        let solved = board.is_solved() && board.agrees_with(puzzle);
        Self { puzzle: *puzzle, board, solved, conflicts, probabilities, steps: 0, restarts: 0, guesses: 0 }
    }

    /// The answer as `--format json` prints it.
    pub fn to_json(&self) -> impl Serialize + use<> {
        AnswerJson {
            puzzle: self.puzzle.to_line(),
            digits: self.board.to_line(),
            solved: self.solved,
            conflicts: self.conflicts.clone(),
            probabilities: self.probabilities.clone(),
            steps: self.steps,
            restarts: self.restarts,
            guesses: self.guesses,
        }
    }
}

#[derive(Serialize)]
struct AnswerJson {
    puzzle: String,
    digits: String,
    solved: bool,
    conflicts: Vec<usize>,
    probabilities: Vec<[f32; DIGITS]>,
    steps: usize,
    restarts: usize,
    guesses: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOLUTION: &str =
        "864371259325849761971265843436192587198657432257483916689734125713528694542916378";

    fn logits_for(line: &str) -> Vec<f32> {
        let mut logits = vec![0.0; CELLS * DIGITS];
        for (i, c) in line.bytes().enumerate() {
            logits[i * DIGITS + usize::from(c - b'1')] = 5.0;
        }
        logits
    }

    #[test]
    fn a_valid_board_that_agrees_with_the_givens_is_solved() {
        let puzzle = Grid::parse(&SOLUTION.replace('8', ".")).unwrap();
        let answer = Answer::read(&puzzle, &logits_for(SOLUTION), Givens::Preserved);
        assert!(answer.solved && answer.conflicts.is_empty());
        assert_eq!(answer.board.to_line(), SOLUTION);
        let total: f32 = answer.probabilities[0].iter().sum();
        assert!((total - 1.0).abs() < 1e-6 && answer.probabilities[0][7] > 0.9);
    }

    #[test]
    fn a_valid_board_of_another_puzzle_is_not_solved() {
        // Swapping two digits everywhere keeps the rules but not the givens.
        let swapped: String = SOLUTION
            .chars()
            .map(|c| match c {
                '1' => '2',
                '2' => '1',
                c => c,
            })
            .collect();
        let puzzle = Grid::parse(&SOLUTION.replace('8', ".")).unwrap();
        let raw = Answer::read(&puzzle, &logits_for(&swapped), Givens::Predicted);
        assert!(raw.board.is_solved() && !raw.solved);
        assert_eq!(raw.conflicts.len(), 18, "the changed givens are marked");
        let kept = Answer::read(&puzzle, &logits_for(&swapped), Givens::Preserved);
        assert!(kept.solved, "with the givens kept, the prediction of the blanks is right");
    }

    #[test]
    fn a_wrong_digit_is_marked_with_its_peers() {
        let puzzle = Grid::parse(&format!(".{}", &SOLUTION[1..])).unwrap();
        let wrong = format!("6{}", &SOLUTION[1..]);
        let answer = Answer::read(&puzzle, &logits_for(&wrong), Givens::Preserved);
        assert!(!answer.solved && answer.conflicts.contains(&0) && answer.conflicts.contains(&1));
    }
}
