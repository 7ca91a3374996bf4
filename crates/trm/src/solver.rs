//! Solving in three lines: a model, how long it may think, and the threads it works on.

use crate::checkpoint::{Checkpoint, CheckpointError, ModelFile};
use crate::evaluate::{Evaluation, evaluate};
use crate::model::{Budget, Thinker};
use crate::parallel::Threads;
use crate::solve::{Answer, Givens, solve};
use crate::sudoku::{Grid, Puzzle};
use crate::trace::{Trace, solve_traced};
use std::path::Path;

/// Digits that the shipped model may guess, unless told otherwise: some seconds of work on the hardest puzzles.
const GUESSES: usize = 10_000;

/// A model that is ready to solve Sudokus.
///
/// Every answer is checked: [`Answer::solved`] is true only if the board obeys the rules and agrees with the givens. Answers depend
/// neither on the number of threads nor on what else is solved at the same time.
#[derive(Debug)]
pub struct Solver {
    model: Box<dyn Thinker>,
    budget: Budget,
    threads: Threads,
}

impl Solver {
    /// The model that comes with this library. It thinks for 64 outer cycles and then guesses, depth first, up to 10,000 digits.
    ///
    /// ```
    /// use trm::{Grid, Solver};
    ///
    /// let puzzle =
    ///     Grid::parse("53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79")?;
    /// let answer = Solver::shipped().solve(&puzzle);
    /// assert!(answer.solved);
    /// println!("{}", answer.board);
    /// # Ok::<(), trm::sudoku::GridError>(())
    /// ```
    pub fn shipped() -> Self {
        let threads = Threads::new(0);
        let model = Checkpoint::shipped().into_model(&threads);
        Self::of(Box::new(model), threads).guesses(GUESSES)
    }

    /// The model of a file: `.pt` as PyTorch or this program writes it, or `.safetensors`; of the documented family or of the paper,
    /// quantised or not. It thinks for as long as it did in training, and does not guess.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or holds no model.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let threads = Threads::new(0);
        let model = ModelFile::read(path.as_ref())?.into_thinker(&threads);
        Ok(Self::of(model, threads))
    }

    /// A model in memory, on these threads. It thinks for as long as it did in training, and does not guess.
    pub fn of(model: Box<dyn Thinker>, threads: Threads) -> Self {
        Self { budget: model.trained_budget(), model, threads }
    }

    /// The most outer cycles of one trajectory.
    #[must_use]
    pub fn cycles(mut self, cycles: usize) -> Self {
        self.budget.steps = cycles.next_multiple_of(self.model.cycles_at_once());
        self
    }

    /// Further trajectories from other random first states while a puzzle is unsolved. Models without random first states have none.
    #[must_use]
    pub fn restarts(mut self, restarts: usize) -> Self {
        self.budget.restarts = restarts;
        self
    }

    /// The most digits that are guessed, depth first, while a puzzle is unsolved.
    #[must_use]
    pub fn guesses(mut self, guesses: usize) -> Self {
        self.budget.guesses = guesses;
        self
    }

    /// Sets the number of worker threads; 0 means one on each CPU. Answers do not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Threads::new(threads);
        self
    }

    /// How long the model may think about a puzzle.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The model.
    pub fn model(&self) -> &dyn Thinker {
        &*self.model
    }

    /// Answers one puzzle; the givens are kept.
    pub fn solve(&self, puzzle: &Grid) -> Answer {
        self.solve_all(std::slice::from_ref(puzzle)).remove(0)
    }

    /// Answers puzzles, in their order; the givens are kept. Many at once are faster than one after the other.
    pub fn solve_all(&self, puzzles: &[Grid]) -> Vec<Answer> {
        solve(&*self.model, puzzles, Givens::Preserved, &self.budget, &self.threads)
    }

    /// Answers one puzzle as [`Self::solve`] does, and also returns how the answer came about: every outer cycle,
    /// hypothesis, restart and guess.
    pub fn trace(&self, puzzle: &Grid) -> (Answer, Trace) {
        let puzzles = std::slice::from_ref(puzzle);
        solve_traced(&*self.model, puzzles, Givens::Preserved, &self.budget, &self.threads).remove(0)
    }

    /// How well the model does on puzzles whose solutions are known.
    pub fn evaluate(&self, puzzles: &[Puzzle]) -> Evaluation {
        evaluate(&*self.model, puzzles, &self.budget, &self.threads)
    }
}
