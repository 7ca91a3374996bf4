//! Settings of the puzzles that a run sees.

use super::{Curriculum, CurriculumBy};
use serde::{Deserialize, Serialize};

/// Settings of the puzzles that a run sees: where they come from, how they are changed and in which order they are met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// CSV files of puzzles and solutions, separated by commas; generated puzzles come before their rows.
    pub data: String,
    /// Most rows of the file that are used.
    pub max_samples: usize,
    /// Rows at the end of the file kept out of training and validation, evaluated once at the end.
    pub holdout_rows: usize,
    /// Share of the rows that is set aside for validation.
    pub val_fraction: f64,
    /// Replace each training puzzle by a random symmetric one every time it is seen.
    pub augment: bool,
    /// Times that an epoch passes over each training puzzle, every time under another symmetry if `augment` is set.
    pub augment_copies: usize,
    /// Share of the training puzzles in which some blanks, from none to all of them, are filled in from the solution:
    /// every difficulty between the puzzle's own and none, and the boards that a solver meets on its way.
    pub reveal: f64,
    /// Share of the training puzzles that are generated when they are drawn, each a new one: an endless stream beside
    /// the puzzles of files. They have as many givens as other generated puzzles.
    pub fresh: f64,
    /// Order in which puzzles of different difficulty are met (SPEC.md).
    pub curriculum: Curriculum,
    /// The measure of a puzzle's difficulty.
    pub curriculum_by: CurriculumBy,
    /// Number of stages of the curriculum. With n stages the first draws from 1/n of the training puzzles and the last
    /// from all of them.
    pub curriculum_stages: usize,
    /// Share of the run that is divided evenly among the stages, unless competence decides; the last goes on to the end.
    pub curriculum_until: f64,
    /// Share of right cells at which competence opens the next stage. It is measured on the validation puzzles that
    /// are as hard as the newest stage, or on the epoch's training cells where there are no such puzzles.
    pub curriculum_threshold: f64,
    /// Puzzles to generate.
    pub generate_samples: usize,
    /// Fewest givens of a generated puzzle.
    pub generate_givens_min: usize,
    /// Most givens of a generated puzzle.
    pub generate_givens_max: usize,
}

impl Default for DataConfig {
    /// The documented settings.
    fn default() -> Self {
        Self {
            data: String::new(),
            max_samples: 100_000,
            holdout_rows: 0,
            val_fraction: 0.05,
            augment: false,
            augment_copies: 1,
            reveal: 0.0,
            fresh: 0.0,
            curriculum: Curriculum::None,
            curriculum_by: CurriculumBy::Guesses,
            curriculum_stages: 5,
            curriculum_until: 0.5,
            curriculum_threshold: 0.7,
            generate_samples: 0,
            generate_givens_min: 30,
            generate_givens_max: 40,
        }
    }
}
