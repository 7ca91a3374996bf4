//! Files of puzzles, and what training makes of them.

mod cells;
mod dataset;
mod difficulty;
mod json;
mod lines;
mod list;
mod reader;
mod row;
mod source;
mod table;
mod write;
mod xml;

pub(crate) use dataset::stream;
pub use dataset::{EpochOrder, Stats, duplicates, split};
pub use difficulty::{cached_grades, difficulties, grades_path};
pub use reader::{
    DataError, Dataset, Entry, PuzzleReader, ReadOptions, RowError, Solutions, file_names, read_puzzles,
    read_quizzes,
};
pub use write::{write_csv, write_rows};
