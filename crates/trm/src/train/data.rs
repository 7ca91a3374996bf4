//! Puzzles of a run: what is trained on, validated with and kept for the end.

use crate::config::DataConfig;
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
    /// Difficulty of each training puzzle for a curriculum; a run that needs it computes it where it is missing.
    pub train_difficulty: Vec<u32>,
    /// Difficulty of each validation puzzle.
    pub validation_difficulty: Vec<u32>,
}

impl TrainingData {
    /// Numbers of puzzles for training, validation and the end.
    pub fn sizes(&self) -> [usize; 3] {
        [self.train.len(), self.validation.len(), self.holdout.len()]
    }
}

/// Puts a data set aside for training, validation and the final evaluation, as `config` says.
pub fn split_data(config: &DataConfig, seed: u64, dataset: Dataset) -> TrainingData {
    let mut puzzles = dataset.puzzles;
    let holdout = puzzles.split_off(puzzles.len() - config.holdout_rows.min(puzzles.len()));
    puzzles.truncate(config.max_samples);
    let (train, validation) = crate::data::split(&puzzles, config.val_fraction, seed);
    // Without difficulties there are none to pick from.
    let difficulty = |of: &[usize]| of.iter().filter_map(|i| dataset.difficulty.get(*i).copied()).collect();
    let pick = |of: &[usize]| of.iter().map(|i| puzzles[*i]).collect();
    TrainingData {
        train: pick(&train),
        validation: pick(&validation),
        holdout,
        train_difficulty: difficulty(&train),
        validation_difficulty: difficulty(&validation),
    }
}
