//! Lists and grids: boards in a line, grids of nine lines with or without a frame, sections, names and comments.

use super::cells::{exact, plain};
use super::lines::Lines;
use super::reader::{Entry, RowError};
use super::row::{Line, Row, classify};
use crate::sudoku::{Grid, Puzzle};
use std::io;

/// Where the reading of a list is.
#[derive(Default)]
pub(super) struct List {
    /// Rows of a grid that is not complete, each with its line.
    rows: Vec<(u64, Row)>,
    /// The grid would be complete if rows of dashes are rows: the next line decides.
    held: bool,
    /// A grid was refused: its further rows are none.
    broken: bool,
    /// In a section that holds no puzzles.
    elsewhere: bool,
    /// Puzzles so far.
    count: u64,
    /// Boards in a line, and the first line that has as many.
    width: Option<(usize, u64)>,
    line: Vec<u8>,
}

type Outcome = Option<Result<Entry, RowError>>;

impl List {
    /// The next puzzle, or why a line is none; nothing at the end.
    pub(super) fn next(&mut self, lines: &mut Lines) -> io::Result<Outcome> {
        let mut line = std::mem::take(&mut self.line);
        let outcome = loop {
            let Some(number) = lines.read(&mut line)? else { break self.end() };
            let outcome = match plain_boards(&line) {
                Some(boards) if self.rows.is_empty() && !self.elsewhere => self.boards(number, &boards),
                _ => {
                    let kind = classify(&plain(&line));
                    self.broken &= matches!(kind, Line::Row(_));
                    match self.interrupted(number, &kind) {
                        None => self.take(number, kind),
                        Some(outcome) => {
                            lines.unread(number, std::mem::take(&mut line));
                            Some(outcome)
                        }
                    }
                }
            };
            if outcome.is_some() {
                break outcome;
            }
        };
        self.count += u64::from(matches!(outcome, Some(Ok(_))));
        self.line = line;
        Ok(outcome)
    }

    /// What becomes of the grid before a line that is no row of it; the line is read again.
    fn interrupted(&mut self, number: u64, line: &Line) -> Outcome {
        if self.held {
            if !matches!(line, Line::Row(_)) {
                return Some(self.complete());
            }
            let (first, _) = self.rows[0];
            self.rows.clear();
            (self.held, self.broken) = (false, true);
            return Some(fail(
                first,
                "a line of dashes, stars or spaces in this grid is a row of blanks or a frame: write dots for blanks",
            ));
        }
        let begun = self.rows.iter().any(|(_, row)| row.doubtful.is_none());
        let ends = matches!(line, Line::Boards(_) | Line::Note | Line::Section(_));
        if !(begun && ends) {
            return None;
        }
        let (first, count) = self.begun();
        self.rows.clear();
        Some(match line {
            Line::Boards(_) => {
                fail(number, &format!("a new puzzle before the grid of line {first} is complete"))
            }
            _ => fail(first, &format!("the grid that begins here has {count} of 9 rows")),
        })
    }

    fn take(&mut self, number: u64, line: Line) -> Outcome {
        if let Line::Section(name) = line {
            self.rows.clear();
            self.elsewhere = !name.starts_with("puzzle");
            return None;
        }
        if self.elsewhere {
            return None;
        }
        match line {
            Line::Row(_) if self.broken => None,
            Line::Row(row) => self.row(number, row),
            Line::Boards(boards) => self.boards(number, &boards),
            Line::Number(n)
                if self.rows.is_empty() && (self.count == 0 || n == self.count + 1 || n == self.count) =>
            {
                None
            }
            Line::Number(n) => {
                self.bad(number, format!("expected 81 cells, or 9 as a row of a grid; found the number {n}"))
            }
            Line::Bad(reason) => self.bad(number, reason),
            Line::Nothing | Line::Note | Line::Section(_) => None,
        }
    }

    fn bad(&mut self, number: u64, reason: String) -> Outcome {
        self.broken = !self.rows.is_empty();
        self.rows.clear();
        Some(Err(RowError { line: number, reason }))
    }

    /// Adds a row; a grid that is complete then is the outcome.
    fn row(&mut self, number: u64, row: Row) -> Outcome {
        if let Some(label) = row.label {
            // Numbers of columns stand above.
            if label == 1
                && let [(_, heading)] = &self.rows[..]
                && heading.cells == [1, 2, 3, 4, 5, 6, 7, 8, 9]
            {
                self.rows.clear();
            }
            let (_, count) = self.begun();
            if label != count + 1 {
                return self.bad(number, "expected 9 cells in a row of a grid; found 10".into());
            }
        }
        self.rows.push((number, row));
        let certain = self.rows.iter().filter(|(_, row)| row.doubtful.is_none()).count();
        if certain < 9 && self.begun().1 == 9 {
            self.held = true;
            return None;
        }
        // Rules above many grids without puzzles are nothing to keep.
        if certain == 0 && self.rows.len() > 18 {
            self.rows.remove(0);
        }
        (certain == 9).then(|| self.complete())
    }

    /// The first line of the grid that is begun, and how many rows it has.
    fn begun(&self) -> (u64, usize) {
        let mut counted = self.counted();
        (counted.next().map_or(0, |(line, _)| line), self.counted().count())
    }

    fn counted(&self) -> impl Iterator<Item = (u64, &Row)> {
        let certain = self.rows.iter().filter(|(_, row)| row.doubtful.is_none()).count();
        let blanks = self.rows.iter().fold(0, |all, (_, row)| all | row.blanks);
        self.rows
            .iter()
            .filter(move |(_, row)| if certain == 9 { row.doubtful.is_none() } else { row.counts(blanks) })
            .map(|(line, row)| (*line, row))
    }

    fn complete(&mut self) -> Result<Entry, RowError> {
        let (line, _) = self.begun();
        let cells: Vec<u8> = self.counted().flat_map(|(_, row)| row.cells).collect();
        self.rows.clear();
        self.held = false;
        let cells = cells.try_into().expect("nine rows of nine cells");
        Ok(Entry { line, quiz: Grid::from_cells(cells).expect("digits"), solution: None })
    }

    fn end(&mut self) -> Outcome {
        if self.held {
            return Some(self.complete());
        }
        let (first, count) = self.begun();
        let begun = self.rows.iter().any(|(_, row)| row.doubtful.is_none());
        self.rows.clear();
        begun.then(|| fail(first, &format!("the grid that begins here has {count} of 9 rows")))
    }

    /// A puzzle, alone or with its solution beside it.
    fn boards(&mut self, line: u64, boards: &[Grid]) -> Outcome {
        let (width, first) = *self.width.get_or_insert((boards.len(), line));
        if width != boards.len() {
            let reason = format!("{} boards, but line {first} has {width}", boards.len());
            return Some(Err(RowError { line, reason }));
        }
        Some(match boards {
            [quiz] => Ok(Entry { line, quiz: *quiz, solution: None }),
            [one, other] => pair(*one, *other)
                .map(|p| Entry { line, quiz: p.quiz, solution: Some(p.solution) })
                .map_err(|reason| RowError { line, reason }),
            more => fail(
                line,
                &format!(
                    "{} boards in a line: name the columns in a first line, as in quizzes,solutions",
                    more.len()
                ),
            ),
        })
    }
}

/// A board, or two with a delimiter between them, and nothing else: what nearly all lines are.
fn plain_boards(line: &[u8]) -> Option<Vec<Grid>> {
    match line.len() {
        81 => exact(line).map(|board| vec![board]),
        163 if b",;\t| ".contains(&line[81]) => Some(vec![exact(&line[..81])?, exact(&line[82..])?]),
        _ => None,
    }
}

fn fail(line: u64, reason: &str) -> Result<Entry, RowError> {
    Err(RowError { line, reason: reason.into() })
}

/// Which of two boards is the puzzle and which its solution.
fn pair(one: Grid, other: Grid) -> Result<Puzzle, String> {
    let full = |grid: &Grid| grid.givens() == 81;
    let puzzle = match (full(&one), full(&other)) {
        (false, true) => Puzzle { quiz: one, solution: other },
        (true, false) => Puzzle { quiz: other, solution: one },
        (true, true) if one == other => Puzzle { quiz: one, solution: other },
        (true, true) => return Err("two boards without blanks: which is the puzzle?".into()),
        (false, false) => return Err("two boards with blanks: write one puzzle a line".into()),
    };
    puzzle.check().map_err(|e| e.to_string())?;
    Ok(puzzle)
}
