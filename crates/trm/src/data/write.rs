//! Writing puzzles and solutions as CSV.

use crate::atomic_file::write_atomically;
use crate::sudoku::{Grid, Puzzle};
use flate2::{Compression, write::GzEncoder};
use std::io::{self, Write};
use std::path::Path;

/// Writes `quizzes,solutions`, blanks as 0; compressed if the name ends in `.gz`.
///
/// # Errors
/// The file cannot be written; an older one then stays as it was.
pub fn write_csv(path: &Path, puzzles: &[Puzzle]) -> io::Result<()> {
    write_atomically(path, |file| {
        if path.extension().is_some_and(|ending| ending == "gz") {
            let mut gz = GzEncoder::new(file, Compression::default());
            write_rows(&mut gz, puzzles)?;
            return gz.finish().map(drop);
        }
        write_rows(file, puzzles)
    })
}

/// Writes header and rows.
///
/// # Errors
/// What the writer says.
pub fn write_rows(out: &mut dyn Write, puzzles: &[Puzzle]) -> io::Result<()> {
    writeln!(out, "quizzes,solutions")?;
    for puzzle in puzzles {
        let line = |grid: &Grid| grid.cells().map(|digit| b'0' + digit);
        out.write_all(&line(&puzzle.quiz))?;
        out.write_all(b",")?;
        out.write_all(&line(&puzzle.solution))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
