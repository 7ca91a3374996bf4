//! A model that answers puzzles, of whichever kind: what solving, evaluating and tracing ask of it.

use super::{Budget, Engine, Model, Observer, Prediction, Recording, paper};
use crate::parallel::Threads;
use std::fmt::Debug;

/// Answers lists of puzzles as [`Thinker::predict`] does, with buffers that are reused from list to list.
pub type Predictor<'a> = Box<dyn FnMut(&[u8], &Budget, &Threads) -> Vec<Prediction> + 'a>;

/// A model that answers puzzles. A puzzle is left as soon as its board obeys the rules and agrees with the givens.
pub trait Thinker: Debug + Send + Sync {
    /// How long the model thinks about a puzzle if nothing else is wished: as in training.
    fn trained_budget(&self) -> Budget;

    /// Number of trainable values.
    fn parameters(&self) -> u64;

    /// Floating-point operations of an outer cycle and of reading the answer off, for one puzzle.
    fn flops(&self) -> [u64; 2];

    /// Number of outer cycles that always go together: a budget is a multiple of it.
    fn cycles_at_once(&self) -> usize;

    /// Whether first states are random, so that a restart is another trajectory.
    fn starts_at_random(&self) -> bool;

    /// Answers every puzzle within `budget`. An answer does not depend on the company that a puzzle is in, nor on the number of
    /// threads.
    ///
    /// # Shapes
    /// `cells` is `[puzzles, 81]`, digits of the puzzles, 0 where blank.
    fn predict(&self, cells: &[u8], budget: &Budget, threads: &Threads) -> Vec<Prediction>;

    /// [`Self::predict`] for one list after the other, with buffers that are reused.
    fn predictor(&self) -> Predictor<'_>;

    /// Predicts as [`Self::predict`] does, with the same result, and shows each puzzle's progress to an observer of
    /// its own.
    fn predict_observed(
        &self,
        cells: &[u8],
        budget: &Budget,
        observers: &mut [&mut dyn Observer],
        threads: &Threads,
    ) -> Vec<Prediction>;
}

impl Thinker for Model {
    fn trained_budget(&self) -> Budget {
        Budget::trained(self.config())
    }

    fn parameters(&self) -> u64 {
        self.weights().layout().count()
    }

    fn flops(&self) -> [u64; 2] {
        self.network().flops(self.config())
    }

    fn cycles_at_once(&self) -> usize {
        1
    }

    fn starts_at_random(&self) -> bool {
        self.config().init_noise > 0.0
    }

    fn predict(&self, cells: &[u8], budget: &Budget, threads: &Threads) -> Vec<Prediction> {
        Engine::new(Recording::Nothing).predict(self, cells, budget, threads)
    }

    fn predictor(&self) -> Predictor<'_> {
        let mut engine = Engine::new(Recording::Nothing);
        Box::new(move |cells, budget, threads| engine.predict(self, cells, budget, threads))
    }

    fn predict_observed(
        &self,
        cells: &[u8],
        budget: &Budget,
        observers: &mut [&mut dyn Observer],
        threads: &Threads,
    ) -> Vec<Prediction> {
        Engine::new(Recording::Nothing).predict_observed(self, cells, budget, observers, threads)
    }
}

impl Thinker for paper::Model {
    fn trained_budget(&self) -> Budget {
        self.config().budget()
    }

    fn parameters(&self) -> u64 {
        self.weights().layout().count()
    }

    fn flops(&self) -> [u64; 2] {
        self.network().flops(self.config())
    }

    fn cycles_at_once(&self) -> usize {
        self.config().h_cycles
    }

    fn starts_at_random(&self) -> bool {
        false
    }

    fn predict(&self, cells: &[u8], budget: &Budget, threads: &Threads) -> Vec<Prediction> {
        self.predict(cells, budget, threads)
    }

    fn predictor(&self) -> Predictor<'_> {
        Box::new(|cells, budget, threads| self.predict(cells, budget, threads))
    }

    fn predict_observed(
        &self,
        cells: &[u8],
        budget: &Budget,
        observers: &mut [&mut dyn Observer],
        threads: &Threads,
    ) -> Vec<Prediction> {
        self.predict_observed(cells, budget, observers, threads)
    }
}
