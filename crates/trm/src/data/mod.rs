//! Files of puzzles, and what training makes of them.

mod csv;
mod dataset;
mod difficulty;

pub use csv::{DataError, Dataset, ReadOptions, RowError, read_csv, write_csv, write_rows};
pub(crate) use dataset::stream;
pub use dataset::{EpochOrder, Stats, duplicates, split};
pub use difficulty::{cached_grades, difficulties, grades_path};
