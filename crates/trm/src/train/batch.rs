//! The puzzles of a step: those that stay in the batch, and new ones.

use super::Trainer;
use crate::model::States;
use crate::sudoku::Puzzle;
use crate::timing::{Phase, phase};

impl Trainer {
    /// Opens the stages of the curriculum that the step that comes next is to draw from.
    pub(super) fn open_scheduled_stages(&mut self) {
        let total = self.total_steps();
        let Some(stages) = &self.stages else { return };
        let stage = stages.scheduled(self.optimizer.step, total);
        while self.progress.opened.len() < stage {
            self.progress.opened.push(self.progress.drawn);
        }
    }

    /// The puzzles of the next step and the states they go on from: those that stay, then new ones.
    pub(super) fn batch(&mut self) -> (Vec<Puzzle>, States) {
        let _timed = phase(Phase::Data);
        let size = self.config.training.batch_size;
        // Where no puzzle stays, an epoch is one pass over all of them, and its last batch what is left.
        let left = self.samples_per_epoch().saturating_sub(self.progress.step_in_epoch * size);
        let size = if self.config.network.segments == 1 { size.min(left) } else { size };
        let (mut puzzles, mut states) = std::mem::take(&mut self.staying);
        let first = self.progress.drawn;
        let new = first..first + (size - puzzles.len()) as u64;
        puzzles.extend(new.clone().map(|number| self.puzzle(number)));
        states.extend_initial(&self.config.network, self.config.network.seed, new.clone());
        self.progress.drawn = new.end;
        self.progress.staying.extend(new.map(|number| (number, 0)));
        (puzzles, states)
    }

    /// The puzzle of a draw.
    pub(super) fn puzzle(&mut self, number: u64) -> Puzzle {
        let stage = self.progress.stage_of(number);
        let pool = self.stages.as_ref().map(|stages| stages.pool(stage));
        self.draw.puzzle(&self.data.train, pool, number)
    }

    /// After a step: puzzles whose board is not right yet, or all of them without halting, stay for as many segments as the
    /// configuration has.
    pub(super) fn keep_unsolved(&mut self, mut puzzles: Vec<Puzzle>, mut states: States) {
        let (segments, halting) = (self.config.network.segments, self.config.training.halting);
        let mut staying = std::mem::take(&mut self.progress.staying);
        staying.iter_mut().for_each(|(_, behind)| *behind += 1);
        let stays: Vec<bool> = staying
            .iter()
            .zip(&states.solved)
            .map(|((_, behind), solved)| !(halting && *solved) && *behind < segments)
            .collect();
        states.retain(|i| stays[i]);
        let mut stay = stays.iter();
        puzzles.retain(|_| *stay.next().unwrap_or(&false));
        let mut stay = stays.iter();
        staying.retain(|_| *stay.next().unwrap_or(&false));
        self.progress.staying = staying;
        self.staying = (puzzles, states);
    }
}
