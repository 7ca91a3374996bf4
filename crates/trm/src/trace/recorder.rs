//! The observer that writes a trace down.

use super::{Cycle, Digit, Event, Trace, VERSION};
use crate::model::{Budget, CycleView, Moment, Observer};
use crate::solve::{Answer, Givens};
use crate::sudoku::{CELLS, DIGITS, Grid};

/// Records the trace of a puzzle while the model thinks about it.
#[derive(Clone, Debug)]
pub struct Recorder {
    puzzle: Grid,
    givens: Givens,
    events: Vec<Event>,
    /// Outer cycles so far, and those of this attempt.
    cycles: [usize; 2],
    /// The board before the next cycle.
    before: [u8; CELLS],
    /// The outer cycle that the first trajectory ended with.
    end_of_first: usize,
}

impl Recorder {
    /// Nothing is written down yet. `givens` says how boards are read off.
    pub fn new(puzzle: &Grid, givens: Givens) -> Self {
        let before = *puzzle.cells();
        Self { puzzle: *puzzle, givens, events: Vec::new(), cycles: [0; 2], before, end_of_first: 0 }
    }

    /// The whole trace, once the answer is known.
    pub fn finish(mut self, answer: &Answer, budget: &Budget) -> Trace {
        // A solution ends all thinking.
        let is_found = self.events.iter().rev().find_map(|event| match event {
            Event::Cycle(cycle) => Some(cycle.judged && cycle.solved),
            _ => None,
        });
        let cycle = if is_found == Some(true) { self.cycles[0] } else { self.end_of_first };
        self.events.push(Event::Answer { cycle, solved: answer.solved, board: answer.board.to_line() });
        Trace { version: VERSION, puzzle: self.puzzle.to_line(), budget: *budget, events: self.events }
    }

    fn attempt(&mut self) {
        self.cycles[1] = 0;
        self.before = *self.puzzle.cells();
    }

    fn cycle(&mut self, view: &CycleView) -> Cycle {
        self.cycles = self.cycles.map(|cycles| cycles + 1);
        let answer = Answer::read(&self.puzzle, view.logits, self.givens);
        let (puzzle, board) = (self.puzzle.cells(), *answer.board.cells());
        let changed = (0..CELLS).filter(|i| self.before[*i] != board[*i]).collect();
        self.before = board;
        let blanks = (0..CELLS).filter(|i| puzzle[*i] == 0);
        let certainty: Vec<[f32; 2]> = blanks.map(|i| certainty(&answer.probabilities[i])).collect();
        let mean =
            |which: usize| certainty.iter().map(|c| c[which]).sum::<f32>() / certainty.len().max(1) as f32;
        let guessed: Vec<u8> = puzzle.iter().zip(view.cells).map(|(given, cell)| cell - given).collect();
        Cycle {
            cycle: self.cycles[0],
            of_attempt: self.cycles[1],
            board: answer.board.to_line(),
            changed,
            conflicts: answer.conflicts,
            judged: view.is_judged,
            solved: view.is_solution,
            mean_confidence: mean(0),
            mean_entropy_bits: mean(1),
            probabilities: answer.probabilities,
            latent_updates: view.updates.latent.clone(),
            output_update: view.updates.output,
            hypotheses: digits(view.assumed, |_| true),
            guesses: digits(&guessed, |_| true),
        }
    }
}

impl Observer for Recorder {
    fn see(&mut self, moment: &Moment<'_>) {
        let event = match *moment {
            Moment::TrajectoryBegun { restart, why } => {
                self.attempt();
                Event::TrajectoryBegun { restart, why }
            }
            Moment::Cycle(view) => Event::Cycle(Box::new(self.cycle(&view))),
            Moment::HypothesesRevised { before, after } => {
                let is_new = |cell: usize| before[cell] != after[cell];
                let taken_back = digits(before, is_new);
                Event::HypothesesRevised {
                    assumed: digits(after, is_new),
                    all_taken_back: !taken_back.is_empty() && after.iter().all(|digit| *digit == 0),
                    taken_back,
                }
            }
            Moment::TrajectoryEnded { restart, end } => {
                if restart == 0 {
                    self.end_of_first = self.cycles[0];
                }
                Event::TrajectoryEnded { restart, cycles: self.cycles[1], end }
            }
            Moment::SearchBegun { start, why } => {
                self.attempt();
                Event::SearchBegun { start, why }
            }
            Moment::GuessBegun { guess, why } => {
                self.attempt();
                Event::GuessBegun { guess, why }
            }
            Moment::GuessTakenBack { guess, why } => Event::GuessTakenBack { guess, why: why.clone() },
            Moment::SearchEnded { start, failure } => Event::SearchEnded { start, failure: failure.cloned() },
        };
        self.events.push(event);
    }
}

/// The digits of some cells, `[81]`, 0 for none, where `counts` says so.
fn digits(cells: &[u8], counts: impl Fn(usize) -> bool) -> Vec<Digit> {
    let digits = cells.iter().enumerate().filter(|(cell, digit)| **digit > 0 && counts(*cell));
    digits.map(|(cell, digit)| Digit { cell, digit: *digit }).collect()
}

/// [largest probability, entropy in bits]
fn certainty(probabilities: &[f32; DIGITS]) -> [f32; 2] {
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    let entropy = probabilities.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum();
    [largest, entropy]
}
