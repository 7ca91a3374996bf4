//! How a run goes, whatever it trains: its length, its schedule, the rules of its optimiser, and when a puzzle leaves the batch.

use super::optimizer::Rules;
use super::schedule::Schedule;
use crate::config::{DataConfig, Pruning};

/// How a run goes: what every kind of settings comes down to.
#[derive(Clone, Debug)]
pub struct Regime {
    /// Seed of everything random.
    pub seed: u64,
    /// Where puzzles come from and how they are changed.
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

/// How the random numbers that change a puzzle are numbered. Runs of either kind go on as they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// By the pass over the data and the position in it.
    ByPosition,
    /// By the number of the draw.
    ByNumber,
}

/// The length of a run. After each round it validates, records and saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many epochs, each a round: as many draws as there are training puzzles and copies of them.
    Epochs(usize),
    /// So many optimiser steps, and so many in a round.
    Steps {
        /// All of them.
        steps: u64,
        /// From one validation to the next.
        round: u64,
    },
}

/// When a puzzle leaves the batch before its last segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Halting {
    /// Never.
    Never,
    /// As soon as its board is right.
    Right,
    /// As soon as the model says so; with this probability only after a number of segments that is drawn.
    Learned {
        /// Share of the decisions that wait.
        exploration: f64,
    },
}

impl Regime {
    /// Steps of a round, where there are `samples` draws in an epoch; the last one of an epoch may be smaller.
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
