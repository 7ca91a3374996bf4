//! Puzzles of a run: where they come from, and what is trained on, validated with and kept for the end.

use crate::config::{Curriculum, CurriculumBy, DataConfig};
use crate::data::{
    DataError, Dataset, ReadOptions, RowError, cached_grades, difficulties, file_names, read_puzzles,
};
use crate::parallel::Threads;
use crate::sudoku::{GenerateError, Generator, Puzzle};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

/// Rows left out that [`LoadNote::Skipped`] shows as text.
const SHOWN_ROWS: usize = 10;

/// Puzzles to train on and to validate with.
#[derive(Clone, Debug, Default)]
pub struct TrainingData {
    /// Training puzzles, which gradients are computed on.
    pub train: Vec<Puzzle>,
    /// Validation puzzles, which decide which epoch was best.
    pub validation: Vec<Puzzle>,
    /// Held-out puzzles: no decision depends on them, and they are evaluated once at the end.
    pub holdout: Vec<Puzzle>,
    /// Difficulty of each training puzzle for a curriculum; if empty, a run that needs difficulties computes them.
    pub train_difficulty: Vec<u32>,
    /// Difficulty of each validation puzzle.
    pub validation_difficulty: Vec<u32>,
}

/// Why the puzzles of a run could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Puzzles with the wanted number of givens could not be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A file could not be read, or holds a row that is no puzzle.
    #[error(transparent)]
    File(#[from] DataError),
}

/// A message of loading; as text, a line or more for a person.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadNote {
    /// Puzzles are about to be made.
    Generating {
        /// How many.
        count: usize,
        /// Range of the numbers of givens.
        givens: RangeInclusive<usize>,
    },
    /// The grades of a file's puzzles could not be kept beside it, and why.
    GradesNotKept(String),
    /// Rows that are no puzzles were left out.
    Skipped {
        /// How many.
        count: usize,
        /// The first rows that were left out, with the reasons.
        first: Vec<RowError>,
    },
}

impl fmt::Display for LoadNote {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Generating { count, givens } => {
                write!(f, "generating {count} puzzles with {} to {} givens", givens.start(), givens.end())
            }
            Self::GradesNotKept(reason) => f.write_str(reason),
            Self::Skipped { count, first } => {
                write!(f, "skipped {count} bad rows:")?;
                first.iter().take(SHOWN_ROWS).try_for_each(|row| write!(f, "\n  {row}"))
            }
        }
    }
}

impl TrainingData {
    /// The puzzles that `config` asks for, generated puzzles before those of files, split into training, validation
    /// and held-out puzzles.
    ///
    /// `seed` decides which puzzles are generated and which validate. With `skip_bad_rows` rows of files that are no puzzles
    /// are left out. A curriculum by guesses keeps the grades of a file's puzzles beside the file. `tell` hears what a person
    /// may want to know meanwhile.
    ///
    /// # Errors
    /// Numbers of givens that no generated puzzle has, an unreadable file, and a bad row unless those are skipped.
    pub fn load(
        config: &DataConfig,
        seed: u64,
        skip_bad_rows: bool,
        threads: &Threads,
        tell: &mut dyn FnMut(LoadNote),
    ) -> Result<Self, LoadError> {
        let mut dataset = Dataset::default();
        if config.generate_samples > 0 {
            let (count, givens) =
                (config.generate_samples, config.generate_givens_min..=config.generate_givens_max);
            tell(LoadNote::Generating { count, givens: givens.clone() });
            dataset.puzzles = Generator::new(seed, givens).generate_many(count, threads)?;
            add_difficulty(config, &mut dataset, None, threads, tell);
        }
        let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
        for file in file_names(&config.data) {
            let mut part = read_puzzles(Path::new(file), &options)?;
            add_difficulty(config, &mut part, Some(Path::new(file)), threads, tell);
            dataset.append(part);
        }
        if dataset.skipped_count > 0 {
            let first = std::mem::take(&mut dataset.skipped);
            tell(LoadNote::Skipped { count: dataset.skipped_count, first });
        }
        Ok(split_data(config, seed, dataset))
    }

    /// Numbers of puzzles for training, validation and the end.
    pub fn sizes(&self) -> [usize; 3] {
        [self.train.len(), self.validation.len(), self.holdout.len()]
    }
}

/// Notes how hard the puzzles are, if `config` has a curriculum; grades of a file are kept beside it.
fn add_difficulty(
    config: &DataConfig,
    part: &mut Dataset,
    file: Option<&Path>,
    threads: &Threads,
    tell: &mut dyn FnMut(LoadNote),
) {
    if config.curriculum == Curriculum::None {
        return;
    }
    part.difficulty = match (config.curriculum_by, file) {
        (CurriculumBy::Guesses, Some(file)) => {
            let (grades, note) = cached_grades(file, &part.puzzles, threads);
            note.into_iter().for_each(|note| tell(LoadNote::GradesNotKept(note)));
            grades
        }
        (by, _) => difficulties(&part.puzzles, by, threads),
    };
}

/// Sets puzzles aside for validation and the final evaluation, as `config` says; `seed` decides which validate.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::write_csv;

    /// Loads with one thread; with what was told.
    fn load(config: &DataConfig, skip: bool) -> (Result<TrainingData, LoadError>, Vec<LoadNote>) {
        let mut notes = Vec::new();
        let data = TrainingData::load(config, 7, skip, &Threads::new(1), &mut |note| notes.push(note));
        (data, notes)
    }

    #[test]
    fn generated_puzzles_come_before_those_of_files_and_are_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("puzzles.csv");
        let of_file = Generator::new(3, 60..=61).generate_many(4, &Threads::new(1)).unwrap();
        write_csv(&path, &of_file).unwrap();
        let config = DataConfig {
            data: format!(" {} ,", path.display()),
            generate_samples: 6,
            generate_givens_min: 50,
            generate_givens_max: 51,
            holdout_rows: 3,
            val_fraction: 0.0,
            curriculum: Curriculum::EasyToHard,
            curriculum_by: CurriculumBy::Givens,
            ..DataConfig::default()
        };
        let (data, notes) = load(&config, false);
        let data = data.unwrap();
        assert_eq!(notes, [LoadNote::Generating { count: 6, givens: 50..=51 }]);
        assert_eq!(notes[0].to_string(), "generating 6 puzzles with 50 to 51 givens");
        assert_eq!(data.sizes(), [7, 0, 3]);
        assert_eq!(data.holdout, of_file[1..]);
        let difficulty: Vec<u32> = data.train.iter().map(|p| 81 - p.quiz.givens() as u32).collect();
        assert_eq!(data.train_difficulty, difficulty);
        assert_eq!(data.train.iter().filter(|p| (50..=51).contains(&p.quiz.givens())).count(), 6);
    }

    #[test]
    fn bad_rows_are_an_error_or_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("puzzles.csv");
        write_csv(&path, &Generator::new(3, 60..=61).generate_many(2, &Threads::new(1)).unwrap()).unwrap();
        let rows = std::fs::read_to_string(&path).unwrap() + "12,34\n";
        std::fs::write(&path, rows).unwrap();
        let config = DataConfig { data: path.display().to_string(), ..DataConfig::default() };
        assert!(matches!(load(&config, false).0, Err(LoadError::File(DataError::Row { .. }))));
        let (data, notes) = load(&config, true);
        assert_eq!(data.unwrap().sizes(), [1, 1, 0]);
        let [LoadNote::Skipped { count: 1, first }] = &notes[..] else { panic!("{notes:?}") };
        assert_eq!((first.len(), first[0].line), (1, 4));
        assert!(notes[0].to_string().starts_with("skipped 1 bad rows:\n  line 4: "), "{}", notes[0]);
        let missing = DataConfig { data: "no such file.csv".into(), ..config };
        assert!(load(&missing, true).0.unwrap_err().to_string().contains("no such file.csv"));
    }

    #[test]
    fn a_number_of_givens_that_cannot_be_had_is_an_error() {
        let config = DataConfig {
            generate_samples: 1,
            generate_givens_min: 17,
            generate_givens_max: 17,
            ..DataConfig::default()
        };
        assert!(matches!(load(&config, false).0, Err(LoadError::Generate(_))));
    }
}
