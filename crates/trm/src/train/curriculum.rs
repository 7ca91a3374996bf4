//! Which puzzles are drawn from when: a pool that grows stage by stage, from the easy end or from the hard one.
//!
//! Stage s of S (from 0) draws evenly from the first `ceil(n (s + 1) / S)` of the n training puzzles in the order of their
//! difficulty. Stages open as the run goes on or, by competence, when the accuracy on what the newest one opened is high
//! enough. An epoch has as many draws as ever, so a small pool is passed over more often.

use super::TrainingData;
use crate::config::{Curriculum, DataConfig};
use crate::data::difficulties;
use crate::parallel::Threads;
use std::cmp::Reverse;

/// The stages of a run's curriculum.
#[derive(Debug)]
pub(super) struct Stages {
    kind: Curriculum,
    count: usize,
    until: f64,
    threshold: f64,
    /// Indices of the training puzzles in the order in which they are opened.
    train: Vec<u32>,
    /// Indices of the validation puzzles in the order in which they are opened.
    validation: Vec<u32>,
}

impl Stages {
    /// The curriculum that `config` asks for, if any. Difficulties that `data` does not have are computed.
    pub fn new(config: &DataConfig, data: &TrainingData, threads: &Threads) -> Option<Self> {
        if config.curriculum == Curriculum::None {
            return None;
        }
        let order = |puzzles: &[_], known: &[u32]| {
            let computed =
                (known.len() != puzzles.len()).then(|| difficulties(puzzles, config.curriculum_by, threads));
            let difficulty = computed.as_deref().unwrap_or(known);
            let mut order: Vec<u32> = (0..puzzles.len() as u32).collect();
            match config.curriculum {
                Curriculum::HardFirst => order.sort_by_key(|i| Reverse(difficulty[*i as usize])),
                _ => order.sort_by_key(|i| difficulty[*i as usize]),
            }
            order
        };
        Some(Self {
            kind: config.curriculum,
            count: config.curriculum_stages,
            until: config.curriculum_until,
            threshold: config.curriculum_threshold,
            train: order(&data.train, &data.train_difficulty),
            validation: order(&data.validation, &data.validation_difficulty),
        })
    }

    /// The training puzzles that stage `stage` draws from.
    pub fn pool(&self, stage: usize) -> &[u32] {
        &self.train[..(self.train.len() * (stage + 1)).div_ceil(self.count).min(self.train.len())]
    }

    /// The validation puzzles as hard as the training puzzles that stage `stage` opened: the same share of the order
    /// by difficulty.
    pub fn newest(&self, stage: usize) -> &[u32] {
        let place = |stage: usize| (self.validation.len() * stage / self.count).min(self.validation.len());
        &self.validation[place(stage)..place(stage + 1)]
    }

    /// Whether there is no stage after stage `stage`.
    pub fn is_last(&self, stage: usize) -> bool {
        stage + 1 >= self.count
    }

    /// Whether accuracy opens the stages.
    pub fn is_by_competence(&self) -> bool {
        self.kind == Curriculum::Competence
    }

    /// Stage of step `step` of `total`: the share `until` of the run is divided evenly among the stages.
    pub fn scheduled(&self, step: u64, total: u64) -> usize {
        if self.is_by_competence() {
            return 0;
        }
        let moved = step as f64 / (self.until * total as f64).max(1.0);
        ((moved * self.count as f64) as usize).min(self.count - 1)
    }

    /// Whether this accuracy at stage `stage` opens another.
    pub fn opens_next(&self, stage: usize, accuracy: f64) -> bool {
        self.is_by_competence() && stage + 1 < self.count && accuracy >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sudoku::{Grid, Puzzle};

    fn stages(curriculum: Curriculum, difficulty: &[u32]) -> Stages {
        let config = DataConfig { curriculum, curriculum_stages: 3, ..DataConfig::default() };
        let puzzles = vec![Puzzle { quiz: Grid::BLANK, solution: Grid::BLANK }; difficulty.len()];
        let data = TrainingData {
            train: puzzles.clone(),
            validation: puzzles,
            train_difficulty: difficulty.to_vec(),
            validation_difficulty: difficulty.to_vec(),
            ..TrainingData::default()
        };
        Stages::new(&config, &data, &Threads::new(1)).unwrap()
    }

    #[test]
    fn pools_grow_from_the_easy_or_the_hard_end_to_all() {
        let difficulty = [5, 0, 9, 0, 2, 7, 1];
        let easy = stages(Curriculum::EasyToHard, &difficulty);
        assert_eq!(easy.pool(0), [1, 3, 6]);
        assert_eq!(easy.pool(1), [1, 3, 6, 4, 0]);
        assert_eq!(easy.pool(2), [1, 3, 6, 4, 0, 5, 2]);
        let hard = stages(Curriculum::HardFirst, &difficulty);
        assert_eq!(hard.pool(0), [2, 5, 0]);
        assert_eq!(hard.pool(2).len(), 7);
        let newest: Vec<&[u32]> = (0..3).map(|stage| easy.newest(stage)).collect();
        assert_eq!(newest, [&[1, 3][..], &[6, 4], &[0, 5, 2]], "each puzzle in one stage, by difficulty");
    }

    #[test]
    fn stages_divide_their_share_of_the_run_evenly_and_the_last_goes_on() {
        let easy = stages(Curriculum::EasyToHard, &[0; 9]);
        let of = |step| easy.scheduled(step, 80);
        assert_eq!([0, 13, 14, 26, 27, 79].map(of), [0, 0, 1, 1, 2, 2]);
        assert!(!easy.opens_next(0, 1.0));
    }

    #[test]
    fn competence_opens_a_stage_at_the_threshold_and_none_behind_the_last() {
        let stages = stages(Curriculum::Competence, &[0; 9]);
        assert_eq!(stages.scheduled(79, 80), 0);
        assert!(stages.opens_next(0, 0.7) && !stages.opens_next(0, 0.69) && !stages.opens_next(2, 1.0));
    }
}
