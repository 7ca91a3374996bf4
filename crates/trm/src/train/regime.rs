//! How a run goes, whatever it trains: its length, its schedule, the rules of its optimiser, and when a puzzle leaves the batch.

use super::optimizer::Rules;
use super::schedule::Schedule;
use crate::config::{DataConfig, Pruning};

/// How a run goes: what every kind of settings comes down to.
#[derive(Clone, Debug)]
pub struct Regime {
    /// Seed of everything random.
    pub seed: u64,
    /// Settings of the puzzles: where they come from and how they are changed.
    pub data: DataConfig,
    /// How a puzzle is drawn from the training puzzles.
    pub draws: Draws,
    /// Puzzles of a step.
    pub batch_size: usize,
    /// How long the run is, and how long each round.
    pub length: Length,
    /// The learning rate from step to step.
    pub schedule: Schedule,
    /// How weights move.
    pub rules: Rules,
    /// Largest norm of a gradient; a larger one is scaled down. None is left as it is without it.
    pub clip_norm: Option<f64>,
    /// Rounds without a better validation after which the run stops; 0 for never.
    pub patience: usize,
    /// Whether averaged weights are kept, validated and shipped.
    pub has_average: bool,
    /// Which weights are cleared on the way, and how large a share.
    pub prune: (Pruning, f64),
    /// Most segments that a puzzle stays in the batch for, with an optimiser step after each.
    pub segments: usize,
    /// When a puzzle leaves before that.
    pub halting: Halting,
    /// Whether a new puzzle takes the place of one that left. Otherwise those that stay move up, and new ones come behind them.
    pub keeps_places: bool,
}

/// The number that the random changes of a puzzle go by. A run goes on with the numbering that it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// The pass over the data and the position in it.
    ByPosition,
    /// The number of the draw.
    ByNumber,
}

/// The length of a run. After each round it validates, records and saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// The number of epochs. Each epoch is a round: as many draws as there are training puzzles and copies of them.
    Epochs(usize),
    /// A number of optimiser steps, cut into rounds.
    Steps {
        /// Optimiser steps of the whole run.
        steps: u64,
        /// Optimiser steps from one validation to the next.
        round: u64,
    },
}

/// When a puzzle leaves the batch before its last segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Halting {
    /// Never.
    Never,
    /// A puzzle leaves as soon as its board is right.
    Right,
    /// A puzzle leaves as soon as the model says so. A share of the decisions, drawn at random, first waits until the
    /// puzzle has had a number of segments that is drawn too.
    Learned {
        /// Share of the decisions that wait, from 0 to 1.
        exploration: f64,
    },
}

impl Regime {
    /// Steps of a round if an epoch has `samples` draws. The last step of an epoch may be smaller.
    pub fn round_steps(&self, samples: usize) -> u64 {
        match self.length {
            Length::Epochs(_) => samples.div_ceil(self.batch_size) as u64,
            Length::Steps { round, .. } => round,
        }
    }

    /// Steps of the whole run, early stopping aside.
    pub fn total_steps(&self, samples: usize) -> u64 {
        match self.length {
            Length::Epochs(epochs) => self.round_steps(samples) * epochs as u64,
            Length::Steps { steps, .. } => steps,
        }
    }

    /// Rounds of the whole run, early stopping aside.
    pub fn rounds(&self) -> usize {
        match self.length {
            Length::Epochs(epochs) => epochs,
            Length::Steps { steps, round } => steps.div_ceil(round) as usize,
        }
    }
}
