//! CSV files of puzzles and solutions, plain or compressed with gzip; every row is checked.

use crate::atomic_file::write_atomically;
use crate::sudoku::{Grid, Puzzle};
use flate2::read::MultiGzDecoder;
use flate2::{Compression, write::GzEncoder};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Names that the two columns may have.
const COLUMNS: [[&str; 2]; 4] =
    [["quizzes", "solutions"], ["puzzle", "solution"], ["question", "answer"], ["puzzles", "solutions"]];
/// Bad rows that are kept with their reason; further ones are only counted.
const LISTED_ERRORS: usize = 1000;

/// The part of a file that is read, and what becomes of bad rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Stop after this many good rows.
    pub max_rows: Option<usize>,
    /// Leave out bad rows instead of stopping at the first.
    pub skip_bad_rows: bool,
}

/// Puzzles of a file.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Good rows, in order.
    pub puzzles: Vec<Puzzle>,
    /// The first bad rows that were left out, with their reasons.
    pub skipped: Vec<RowError>,
    /// Number of bad rows in all.
    pub skipped_count: usize,
    /// Difficulty of each good row, or nothing where it is not asked for.
    pub difficulty: Vec<u32>,
}

impl Dataset {
    /// Adds the rows of another file behind these.
    pub fn append(&mut self, other: Self) {
        self.puzzles.extend(other.puzzles);
        self.skipped.extend(other.skipped);
        self.skipped_count += other.skipped_count;
        self.difficulty.extend(other.difficulty);
    }
}

/// Why a row is no puzzle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RowError {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong in the row.
    pub reason: String,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The header names no two columns that belong together.
    #[error(
        "{}: line 1: expected columns `quizzes,solutions`, `puzzle,solution` or `question,answer`; found `{found}`",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The header of the file.
        found: String,
    },
    /// A row is no puzzle.
    #[error("{}: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: RowError,
    },
}

/// Reads puzzles with solutions.
///
/// # Errors
/// An unreadable file, a header without the columns, and, unless they are skipped, the first bad row: another length
/// than 81, another character, a solution that breaks the rules, a quiz that does not agree with it.
pub fn read_csv(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let io_error = |source| DataError::Io { path: path.to_path_buf(), source };
    let (input, size) = open(path).map_err(io_error)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let csv_error = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(source) => io_error(source),
        kind => io_error(io::Error::other(format!("{kind:?}"))),
    };
    let header = reader.byte_headers().map_err(csv_error)?.clone();
    let columns = find_columns(&header)
        .ok_or_else(|| DataError::Header { path: path.to_path_buf(), found: shown(header.as_slice()) })?;
    let mut dataset = Dataset::default();
    // A row is at least two boards, a comma and a line end: reserving this once avoids a second copy while growing.
    let rows = (size / 164) as usize + 1;
    dataset.puzzles.reserve_exact(options.max_rows.unwrap_or(usize::MAX).min(rows).min(1 << 24));
    let mut record = csv::ByteRecord::new();
    while options.max_rows.is_none_or(|most| dataset.puzzles.len() < most) {
        if !reader.read_byte_record(&mut record).map_err(csv_error)? {
            break;
        }
        match read_row(&record, columns) {
            Ok(puzzle) => dataset.puzzles.push(puzzle),
            Err(reason) => {
                let error = RowError { line: record.position().map_or(0, csv::Position::line), reason };
                if !options.skip_bad_rows {
                    return Err(DataError::Row { path: path.to_path_buf(), source: error });
                }
                dataset.skipped_count += 1;
                if dataset.skipped.len() < LISTED_ERRORS {
                    dataset.skipped.push(error);
                }
            }
        }
    }
    Ok(dataset)
}

/// Opens a file, decompressing it if its content is gzip; with its size, or a guess of the decompressed size.
fn open(path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut start = Vec::with_capacity(2);
    let mut file = BufReader::with_capacity(1 << 20, file);
    (&mut file).take(2).read_to_end(&mut start)?;
    let input = io::Cursor::new(start.clone()).chain(file);
    if start == [0x1f, 0x8b] {
        // Digits compress to about half.
        return Ok((Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(input))), 2 * size));
    }
    Ok((Box::new(input), size))
}

fn find_columns(header: &csv::ByteRecord) -> Option<[usize; 2]> {
    let position = |name: &str| {
        header.iter().position(|field| {
            let field = field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field);
            field.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
        })
    };
    COLUMNS.iter().find_map(|[quiz, solution]| Some([position(quiz)?, position(solution)?]))
}

fn read_row(record: &csv::ByteRecord, columns: [usize; 2]) -> Result<Puzzle, String> {
    if let Some(lines) =
        record.iter().map(|field| field.iter().filter(|c| **c == b'\n').count()).find(|n| *n > 0)
    {
        return Err(format!("a quotation mark opens here and swallows {lines} more lines"));
    }
    let grid = |column: usize, name: &str| {
        let field = record.get(column).ok_or_else(|| format!("the {name} is missing"))?;
        let text = std::str::from_utf8(field).map_err(|_| format!("{name}: not text"))?;
        Grid::parse(text).map_err(|e| format!("{name}: {e}"))
    };
    let puzzle = Puzzle { quiz: grid(columns[0], "quiz")?, solution: grid(columns[1], "solution")? };
    puzzle.check().map_err(|e| e.to_string())?;
    Ok(puzzle)
}

/// The start of a header, for an error message.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

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
