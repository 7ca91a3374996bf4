//! Puzzles of a run: what is trained on, validated with and kept for the end.

use crate::config::TrmConfig;
use crate::data::Dataset;
use crate::sudoku::Puzzle;

/// Puzzles to train on and to validate with.
#[derive(Clone, Debug, Default)]
pub struct TrainingData {
    /// What the gradient sees.
    pub train: Vec<Puzzle>,
    /// What decides which epoch was best.
    pub validation: Vec<Puzzle>,
    /// What nothing is decided by: evaluated once at the end.
    pub holdout: Vec<Puzzle>,
}

impl TrainingData {
    /// Numbers of puzzles for training, validation and the end.
    pub fn sizes(&self) -> [usize; 3] {
        [self.train.len(), self.validation.len(), self.holdout.len()]
    }
}

/// Puts a data set aside for training, validation and the final evaluation, as `config` says.
pub fn split_data(config: &TrmConfig, dataset: Dataset) -> TrainingData {
    let mut puzzles = dataset.puzzles;
    let holdout = puzzles.split_off(puzzles.len() - config.holdout_rows.min(puzzles.len()));
    puzzles.truncate(config.max_samples);
    let (train, validation) = crate::data::split(puzzles, config.val_fraction, config.seed);
    TrainingData { train, validation, holdout }
}
