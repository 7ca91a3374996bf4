//! The paper's model on its way through outer cycles, as the loop over them (model/trajectory.rs) sees it.

use super::board::Board;
use super::recursion::Model;
use super::{BLANK, Carry, VOCABULARY};
use crate::model::observer::{Observer, Updates, Watch};
use crate::model::trajectory::{Recursion, answer};
use crate::model::{Budget, Prediction};
use crate::ops::log_stable;
use crate::parallel::Threads;
use crate::sudoku::{CELLS, DIGITS};
use rand_chacha::ChaCha8Rng;

/// Parts that puzzles are shared out to the threads in: some solve theirs sooner than others.
const PARTS: usize = 64;

impl Model {
    /// Answers every puzzle within `budget`. The result does not depend on the company a puzzle is in. First states are not
    /// random, so there are no restarts.
    ///
    /// # Shapes
    /// `cells` is `[puzzles, 81]`, digits of the puzzles, 0 where blank.
    pub fn predict(&self, cells: &[u8], budget: &Budget, threads: &Threads) -> Vec<Prediction> {
        self.think(cells, budget, std::iter::repeat_with(Watch::off), threads)
    }

    /// Predicts as [`Self::predict`] does, with the same result, and shows each puzzle's progress to an observer of
    /// its own.
    pub fn predict_observed<O: Observer>(
        &self,
        cells: &[u8],
        budget: &Budget,
        observers: &mut [O],
        threads: &Threads,
    ) -> Vec<Prediction> {
        self.think(cells, budget, observers.iter_mut().map(|observer| Watch::by(observer)), threads)
    }

    fn think<'a>(
        &self,
        cells: &[u8],
        budget: &Budget,
        watches: impl Iterator<Item = Watch<'a>>,
        threads: &Threads,
    ) -> Vec<Prediction> {
        let mut predictions = vec![Prediction::default(); cells.len() / CELLS];
        let puzzles = cells.chunks_exact(CELLS).zip(&mut predictions).zip(watches);
        let mut puzzles: Vec<_> = puzzles.collect();
        let part = puzzles.len().div_ceil(PARTS).max(1);
        threads.for_each(puzzles.chunks_mut(part).collect(), |puzzles: &mut [_]| {
            let mut recursion = BoardRecursion::new(self);
            for ((cells, prediction), watch) in puzzles {
                recursion.set_cells(cells);
                let watch = std::mem::replace(watch, Watch::off());
                answer(budget, &mut recursion, std::slice::from_mut(*prediction), watch);
            }
        });
        predictions
    }
}

/// A model, and the puzzle that it thinks about.
struct BoardRecursion<'a> {
    model: &'a Model,
    board: Board,
    /// Digits that are given, `[81]`.
    cells: Vec<u8>,
    /// Logits of the digits 1 to 9, `[81, 9]`, as softmax takes them.
    logits: Vec<f32>,
    /// Zeros: this model makes no hypotheses.
    assumed: [u8; CELLS],
    flops: [u64; 2],
}

impl<'a> BoardRecursion<'a> {
    fn new(model: &'a Model) -> Self {
        Self {
            model,
            board: model.board(false),
            cells: vec![0; CELLS],
            logits: vec![0.0; CELLS * DIGITS],
            assumed: [0; CELLS],
            flops: model.network().flops(model.config()),
        }
    }
}

impl Recursion for BoardRecursion<'_> {
    /// First states are constants, so nothing is kept.
    type States = ();

    fn cells(&self) -> &[u8] {
        &self.cells
    }

    fn set_cells(&mut self, cells: &[u8]) {
        self.cells.copy_from_slice(cells);
    }

    fn alone(&self, _puzzle: usize) -> Self {
        let mut alone = Self::new(self.model);
        alone.set_cells(&self.cells);
        alone
    }

    fn is_random(&self) -> bool {
        false
    }

    fn first_states(&self, _seed: u64, _streams: &[u64]) {}

    fn begin(&mut self, _first: &mut ()) {
        let Carry { z_h, z_l } = Carry::new(self.model, 1);
        (self.board.z_h, self.board.z_l) = (z_h, z_l);
        self.model.embed(&mut self.board, &self.cells);
    }

    fn segment(&self) -> usize {
        self.model.config().h_cycles
    }

    fn is_read_out(&self, h: usize) -> bool {
        h + 1 == self.model.config().h_cycles
    }

    fn cycle(&mut self, mut updates: Option<&mut Updates>) {
        let (model, board) = (self.model, &mut self.board);
        for _ in 0..model.config().l_cycles {
            let before = updates.is_some().then(|| board.z_l.clone());
            model.refine_latent(board, None);
            if let (Some(updates), Some(before)) = (&mut updates, before) {
                updates.latent.push(Updates::size(&before, &board.z_l));
            }
        }
        let before = updates.is_some().then(|| board.z_h.clone());
        model.refine_output(board, None);
        if let (Some(updates), Some(before)) = (updates, before) {
            updates.output = Updates::size(&before, &board.z_h);
        }
    }

    /// The logits of the nine digits, as softmax takes them.
    fn read_out(&mut self) {
        self.model.read_out(&mut self.board);
        let first = usize::from(BLANK) + 1;
        let rows = self.board.logits.chunks_exact(VOCABULARY);
        let digits = rows.flat_map(|row| row[first..].iter());
        self.logits.iter_mut().zip(digits).for_each(|(mine, logit)| *mine = log_stable(*logit));
    }

    fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn flops(&self) -> [u64; 2] {
        self.flops
    }

    fn assumed(&self) -> &[u8] {
        &self.assumed
    }

    fn revise(&mut self, _random: &mut [ChaCha8Rng]) {}
}
