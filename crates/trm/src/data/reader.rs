//! One reader for every file of puzzles.

use super::cells::plain;
use super::json::Json;
use super::lines::Lines;
use super::list::List;
use super::row::{Line, classify};
use super::source;
use super::table::Table;
use super::xml::Xml;
use crate::sudoku::{Grid, Puzzle};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bad rows that are kept with their reason; further ones are only counted.
const LISTED_ERRORS: usize = 1000;
/// Lines among which the header of a table is looked for.
const HEADER_LINES: usize = 12;

/// What solutions that stand beside puzzles are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solutions {
    /// Every puzzle needs one, and it is checked.
    #[default]
    Needed,
    /// One that stands there is checked.
    IfThere,
    /// They are not looked at.
    Ignored,
}

/// What to read of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Stop after this many good rows.
    pub max_rows: Option<usize>,
    /// Leave out bad rows instead of stopping at the first.
    pub skip_bad_rows: bool,
}

/// Puzzles of a file, with their solutions.
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

    /// Counts a bad row, and keeps it if it is one of the first.
    fn skip(&mut self, error: RowError) {
        self.skipped_count += 1;
        if self.skipped.len() < LISTED_ERRORS {
            self.skipped.push(error);
        }
    }
}

/// A puzzle of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Line of the file in which it begins, from 1.
    pub line: u64,
    /// The puzzle.
    pub quiz: Grid,
    /// Its solution, where one stands beside it.
    pub solution: Option<Grid>,
}

/// Why a row is no puzzle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RowError {
    /// Line of the file, from 1.
    pub line: u64,
    /// What is wrong there.
    pub reason: String,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused, or the content is of another kind.
    #[error("{}: {source}", name(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A row is no puzzle.
    #[error("{}: {source}", name(path))]
    Row {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: RowError,
    },
    /// There is no puzzle in the file.
    #[error("{}: no puzzles in it: {reason}", name(path))]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        reason: String,
    },
}

/// What to call a file in messages.
fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

enum Form {
    List(List),
    Table(Table),
    Json(Box<Json>),
    Xml(Xml),
}

/// Puzzles of a file, one after the other, in memory that does not grow with it.
///
/// Every common form is understood: boards of 81 characters in a line, with names or solutions beside them; grids of nine
/// lines, with or without frames; tables with a header, whatever stands between their columns; JSON; the XML of OpenSudoku;
/// all of them plain or in .gz or .zip, in UTF-8, UTF-16 or Latin-1. Blanks are `0`, `.`, `_`, `*`, `x`, `?`, `-` or spaces.
pub struct PuzzleReader {
    path: PathBuf,
    lines: Lines,
    form: Form,
    solutions: Solutions,
    size: u64,
    found: bool,
    done: bool,
}

impl PuzzleReader {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// A file that cannot be read, that is compressed in an unknown way or no text, or a table whose columns leave open
    /// where the puzzles are, or where the solutions are if they are needed.
    pub fn open(path: &Path, solutions: Solutions) -> Result<Self, DataError> {
        let source = source::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        Self::new(source, path, solutions)
    }

    /// Reads bytes as [`Self::open`] does a file; `name` is what messages call them.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(
        bytes: impl Read + 'static,
        name: &Path,
        solutions: Solutions,
    ) -> Result<Self, DataError> {
        let source = source::decode(Box::new(bytes), 0, name)
            .map_err(|source| DataError::Io { path: name.into(), source })?;
        Self::new(source, name, solutions)
    }

    fn new(source: source::Source, path: &Path, solutions: Solutions) -> Result<Self, DataError> {
        let mut lines = Lines::new(source.text);
        let form = form(&mut lines, solutions);
        let mut reader = Self {
            path: path.into(),
            lines,
            form: Form::List(List::default()),
            solutions,
            size: source.size,
            found: false,
            done: false,
        };
        match form {
            Ok(Ok(form)) => reader.form = form,
            Ok(Err(source)) => return Err(DataError::Row { path: path.into(), source }),
            Err(e) => return Err(reader.io_error(e)),
        }
        Ok(reader)
    }

    /// Bytes of text in the file, or about as many; 0 where nothing is known.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn io_error(&mut self, e: io::Error) -> DataError {
        self.done = true;
        let reason = match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                format!("the compressed data end too early or are damaged ({e}): copy the file again")
            }
            io::ErrorKind::InvalidData => e.to_string(),
            _ => return DataError::Io { path: self.path.clone(), source: e },
        };
        let line = self.lines.number() + 1;
        DataError::Io {
            path: self.path.clone(),
            source: io::Error::new(e.kind(), format!("line {line}: {reason}")),
        }
    }

    /// The next puzzle, or why a row is none. Reading goes on behind a bad row.
    fn advance(&mut self) -> Option<Result<Entry, DataError>> {
        if self.done {
            return None;
        }
        let next = match &mut self.form {
            Form::List(list) => list.next(&mut self.lines),
            Form::Table(table) => table.next(&mut self.lines),
            Form::Json(json) => json.next(&mut self.lines),
            Form::Xml(xml) => xml.next(&mut self.lines),
        };
        let path = || self.path.clone();
        match next {
            Err(e) => Some(Err(self.io_error(e))),
            Ok(None) => {
                self.done = true;
                (!self.found).then(|| Err(DataError::Empty { path: path(), reason: self.instead() }))
            }
            Ok(Some(row)) => {
                self.found = true;
                let row = row.and_then(|entry| match entry.solution {
                    None if self.solutions == Solutions::Needed => Err(RowError {
                        line: entry.line,
                        reason: "a puzzle without a solution: `trm data complete FILE --out puzzles.csv` adds solutions"
                            .into(),
                    }),
                    _ => Ok(entry),
                });
                Some(row.map_err(|source| DataError::Row { path: path(), source }))
            }
        }
    }

    /// What a file without puzzles holds.
    fn instead(&self) -> String {
        let lines = self.lines.number();
        match &self.form {
            _ if lines == 0 => "the file is empty".into(),
            Form::Table(_) => format!("a header and no rows ({lines} lines)"),
            Form::Xml(_) => format!("{lines} lines of XML or HTML without a board of 81 cells"),
            _ => format!(
                "{lines} lines without a board; expected 81 characters a line, grids of nine lines, or a table with a header \
                 such as `quizzes,solutions`"
            ),
        }
    }
}

impl Iterator for PuzzleReader {
    type Item = Result<Entry, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance()
    }
}

/// Finds out what a text is by its first lines; a header is taken off it.
fn form(lines: &mut Lines, solutions: Solutions) -> io::Result<Result<Form, RowError>> {
    let mut head: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut content = 0;
    let mut line = Vec::new();
    let mut form = None;
    while content < HEADER_LINES && form.is_none() {
        let Some(number) = lines.read(&mut line)? else { break };
        let text = plain(&line).into_owned();
        let trimmed = text.trim();
        head.push((number, std::mem::take(&mut line)));
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        content += 1;
        if content == 1
            && let Some(json_or_xml) = by_first_character(trimmed, solutions)
        {
            form = Some(json_or_xml);
            break;
        }
        match Table::of(&text, solutions) {
            Err(reason) => return Ok(Err(RowError { line: number, reason })),
            Ok(Some(table)) => {
                let row = lines.read(&mut line)?;
                let next = plain(&line).into_owned();
                row.into_iter().for_each(|number| lines.unread(number, std::mem::take(&mut line)));
                if !table.has_solutions() && solutions == Solutions::Needed {
                    return Ok(Err(RowError { line: number, reason: no_solutions(&text) }));
                }
                if table.has_solutions() || table.fits(&next) {
                    // What stands above a header is a title.
                    return Ok(Ok(Form::Table(table)));
                }
            }
            Ok(None) => {
                if solutions == Solutions::Needed
                    && content == 1
                    && no_board(&text)
                    && text.contains([',', ';', '\t'])
                    && {
                        // Columns without known names: their content decides, unless there are no boards either.
                        let row = lines.read(&mut line)?;
                        let next = plain(&line).into_owned();
                        row.into_iter().for_each(|number| lines.unread(number, std::mem::take(&mut line)));
                        no_board(&next) && !matches!(Table::of(&next, solutions), Ok(Some(_)))
                    }
                {
                    return Ok(Err(RowError { line: number, reason: no_solutions(&text) }));
                }
                if !no_board(&text) {
                    break;
                }
            }
        }
    }
    for (number, line) in head.into_iter().rev() {
        lines.unread(number, line);
    }
    Ok(Ok(form.unwrap_or_else(|| Form::List(List::default()))))
}

fn no_board(text: &str) -> bool {
    !matches!(classify(text), Line::Boards(_) | Line::Row(_))
}

fn by_first_character(text: &str, solutions: Solutions) -> Option<Form> {
    let json = |in_array| Some(Form::Json(Box::new(Json::new(solutions, in_array))));
    let section = matches!(classify(text), Line::Section(_));
    match text.as_bytes()[0] {
        b'{' => json(false),
        b'[' if !section => json(true),
        b'<' => Some(Form::Xml(Xml::default())),
        _ => None,
    }
}

fn no_solutions(header: &str) -> String {
    let found: String = header.trim().chars().take(80).collect();
    format!(
        "expected columns `quizzes,solutions`, `puzzle,solution` or `question,answer`; found `{found}`; \
         `trm data complete FILE --out puzzles.csv` adds solutions to a list of puzzles"
    )
}

/// The names in a list with commas between them; a name that holds a comma is known by the file that has it.
pub fn file_names(list: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let ends = || rest.match_indices(',').map(|(at, _)| at).chain([rest.len()]);
        let first = ends().next().unwrap_or(rest.len());
        let end = ends().filter(|end| Path::new(rest[..*end].trim()).is_file()).max().unwrap_or(first);
        names.push(rest[..end].trim());
        rest = rest.get(end + 1..).unwrap_or("");
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Reads puzzles with solutions.
///
/// # Errors
/// As [`PuzzleReader::open`]; a file without puzzles; and, unless they are skipped, the first bad row: no board of 81
/// cells, a solution that breaks the rules, a puzzle that does not agree with it.
pub fn read_puzzles(path: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let mut dataset = Dataset::default();
    let reader = PuzzleReader::open(path, Solutions::Needed)?;
    // A row is at least two boards, a comma and a line end: reserving this once avoids a second copy while growing.
    let rows = (reader.size() / 164) as usize + 1;
    dataset.puzzles.reserve_exact(options.max_rows.unwrap_or(usize::MAX).min(rows).min(1 << 24));
    if options.max_rows == Some(0) {
        return Ok(dataset);
    }
    for entry in reader {
        match entry {
            Ok(Entry { quiz, solution: Some(solution), .. }) => {
                dataset.puzzles.push(Puzzle { quiz, solution })
            }
            Ok(_) => unreachable!("solutions are needed"),
            Err(DataError::Row { source, .. }) if options.skip_bad_rows => dataset.skip(source),
            Err(error) => return Err(error),
        }
        if options.max_rows == Some(dataset.puzzles.len()) {
            break;
        }
    }
    Ok(dataset)
}

/// Reads puzzles without looking at solutions, each with the line in which it begins.
///
/// # Errors
/// As [`PuzzleReader::open`]; a file without puzzles; the first row that is none.
pub fn read_quizzes(path: &Path) -> Result<Vec<(u64, Grid)>, DataError> {
    PuzzleReader::open(path, Solutions::Ignored)?.map(|entry| entry.map(|e| (e.line, e.quiz))).collect()
}
