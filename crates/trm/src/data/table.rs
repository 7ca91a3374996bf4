//! Tables: a header that names columns, and a puzzle in each row.

use super::cells::{board, fields, names_quiz, names_solution, plain, unquoted, why_no_board};
use super::lines::Lines;
use super::reader::{Entry, RowError, Solutions};
use crate::sudoku::{Grid, Puzzle};
use std::io;

/// Most lines of a row whose values have line ends in them: two boards as nine lines each, and some names.
const ROW_LINES: usize = 64;

/// Columns of a table.
pub(super) struct Table {
    delimiter: u8,
    quiz: usize,
    solution: Option<usize>,
    solutions: Solutions,
    header: String,
    line: Vec<u8>,
}

impl Table {
    /// The columns that a header names: a puzzle, and its solution unless there is none. Nothing if it names no puzzle.
    ///
    /// # Errors
    /// Several columns that could be meant.
    pub(super) fn of(header: &str, solutions: Solutions) -> Result<Option<Self>, String> {
        for delimiter in [b',', b';', b'\t', b'|'] {
            let Some(names) = fields(header, delimiter) else { continue };
            let with = |is: fn(&str) -> bool| {
                names
                    .iter()
                    .enumerate()
                    .filter(|(_, name)| is(unquoted(name)))
                    .map(|(i, _)| i)
                    .collect::<Vec<_>>()
            };
            let (quiz, solution) = (with(names_quiz), with(names_solution));
            if names.len() < 2 || quiz.is_empty() {
                continue;
            }
            let several = |what: &str, columns: &[usize]| {
                let names: Vec<&str> = columns.iter().map(|i| unquoted(&names[*i])).collect();
                format!(
                    "several columns could be the {what}: `{}`; rename or leave out all but one",
                    names.join("`, `")
                )
            };
            if quiz.len() > 1 {
                return Err(several("puzzle", &quiz));
            }
            if solution.len() > 1 && solutions != Solutions::Ignored {
                return Err(several("solution", &solution));
            }
            return Ok(Some(Self {
                delimiter,
                quiz: quiz[0],
                solution: (solution.len() == 1).then(|| solution[0]),
                solutions,
                header: header.trim().to_string(),
                line: Vec::new(),
            }));
        }
        Ok(None)
    }

    /// Whether it names a column of solutions.
    pub(super) fn has_solutions(&self) -> bool {
        self.solution.is_some()
    }

    /// Whether a line could be a row of it.
    pub(super) fn fits(&self, line: &str) -> bool {
        fields(line, self.delimiter).is_none_or(|fields| fields.len() > self.quiz && fields.len() > 1)
    }

    /// The next puzzle, or why a row is none; nothing at the end.
    pub(super) fn next(&mut self, lines: &mut Lines) -> io::Result<Option<Result<Entry, RowError>>> {
        let mut line = std::mem::take(&mut self.line);
        let outcome = loop {
            let Some(number) = lines.read(&mut line)? else { break None };
            if let Some(entry) = self.plain_row(number, &line) {
                break Some(Ok(entry));
            }
            let text = plain(&line);
            let empty = text.bytes().all(|c| c == b' ' || c == b'\t' || c == self.delimiter);
            if !empty && !text.trim_start().starts_with('#') && text.trim() != self.header {
                let row = self.whole_row(&text, lines)?;
                break Some(
                    row.and_then(|row| self.row(number, &row))
                        .map_err(|reason| RowError { line: number, reason }),
                );
            }
        };
        self.line = line;
        Ok(outcome)
    }

    /// A row without quotation marks whose boards are 81 characters each: what nearly all rows are.
    fn plain_row(&self, number: u64, line: &[u8]) -> Option<Entry> {
        let mut boards = [None; 2];
        let mut start = 0;
        for (column, end) in memchr::memchr_iter(self.delimiter, line).chain([line.len()]).enumerate() {
            for (into, wanted) in boards.iter_mut().zip([Some(self.quiz), self.solution]) {
                if wanted == Some(column) {
                    *into = super::cells::exact(&line[start..end]);
                }
            }
            start = end + 1;
        }
        let quiz = boards[0]?;
        if self.solution.is_none() || self.solutions == Solutions::Ignored {
            return (self.solutions != Solutions::Needed).then_some(Entry {
                line: number,
                quiz,
                solution: None,
            });
        }
        let puzzle = Puzzle { quiz, solution: boards[1]? };
        puzzle.check().is_ok().then_some(Entry { line: number, quiz, solution: boards[1] })
    }

    /// A row, with the lines that its quotation marks enclose.
    fn whole_row(&self, first: &str, lines: &mut Lines) -> io::Result<Result<String, String>> {
        let mut row = first.to_string();
        let mut taken = Vec::new();
        while fields(&row, self.delimiter).is_none() {
            let mut line = Vec::new();
            let next = if taken.len() < ROW_LINES { lines.read(&mut line)? } else { None };
            let Some(number) = next else {
                for (number, line) in taken.into_iter().rev() {
                    lines.unread(number, line);
                }
                return Ok(Err("a quotation mark opens here and is not closed".into()));
            };
            row.push('\n');
            row.push_str(&plain(&line));
            taken.push((number, line));
        }
        Ok(Ok(row))
    }

    fn row(&self, line: u64, row: &str) -> Result<Entry, String> {
        let fields = fields(row, self.delimiter).unwrap_or_default();
        let value = |column: usize, name: &str| {
            fields
                .get(column)
                .map(|v| &**v)
                .filter(|v| !v.trim().is_empty())
                .ok_or_else(|| format!("the {name} is missing"))
        };
        let parse =
            |text: &str, name: &str| board(text).ok_or_else(|| format!("{name}: {}", why_no_board(text)));
        let solution = match self.solution {
            Some(column) => value(column, "solution").and_then(|text| parse(text, "solution")),
            None => Err("the solution is missing".into()),
        };
        let text = value(self.quiz, "quiz")?;
        let quiz = board(text)
            .or_else(|| padded(unquoted(text), solution.as_ref().ok()?))
            .ok_or(())
            .or_else(|()| parse(text, "quiz"))?;
        let solution = match (self.solutions, self.solution) {
            (Solutions::Ignored, _) | (Solutions::IfThere, None) => {
                return Ok(Entry { line, quiz, solution: None });
            }
            _ => solution?,
        };
        Puzzle { quiz, solution }.check().map_err(|e| e.to_string())?;
        Ok(Entry { line, quiz, solution: Some(solution) })
    }
}

/// A puzzle that was saved as a number, without the zeros at its front; the solution shows that this is what was lost.
fn padded(text: &str, solution: &Grid) -> Option<Grid> {
    if text.len() < 40 || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let quiz = board(&format!("{text:0>81}"))?;
    Puzzle { quiz, solution: *solution }.check().is_ok().then_some(quiz)
}
