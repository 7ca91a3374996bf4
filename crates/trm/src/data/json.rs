//! Puzzles as JSON: an object, a text or an array for each, one a line or in an array.

use super::cells::{board, names_quiz, names_solution, plain, why_no_board};
use super::lines::Lines;
use super::reader::{Entry, RowError, Solutions};
use crate::sudoku::{Grid, Puzzle};
use serde_json::Value;
use std::io;

/// Where the reading is: elements are cut at the outermost level, or at the second within an array.
pub(super) struct Json {
    solutions: Solutions,
    /// The text is an array of elements, or such arrays one after the other.
    in_array: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
    element: Vec<u8>,
    /// Line in which the element begins.
    first: u64,
    /// Rest of the line that is being read.
    rest: Vec<u8>,
    at: usize,
    number: u64,
    /// Cells of a board that stand alone.
    cells: Vec<u8>,
    cells_line: u64,
}

impl Json {
    pub(super) fn new(solutions: Solutions, in_array: bool) -> Self {
        Self {
            solutions,
            in_array,
            depth: 0,
            in_string: false,
            escaped: false,
            element: Vec::new(),
            first: 0,
            rest: Vec::new(),
            at: 0,
            number: 0,
            cells: Vec::new(),
            cells_line: 0,
        }
    }

    /// The next puzzle, or why an element is none; nothing at the end.
    pub(super) fn next(&mut self, lines: &mut Lines) -> io::Result<Option<Result<Entry, RowError>>> {
        while let Some((line, element)) = self.element(lines)? {
            let outcome = match serde_json::from_slice(&element) {
                Ok(value) => self.take(line, &value),
                Err(e) => Err(format!("no JSON: {e}")),
            };
            match outcome {
                Ok(Some(entry)) => return Ok(Some(Ok(entry))),
                Ok(None) => {}
                Err(reason) => {
                    self.cells.clear();
                    return Ok(Some(Err(RowError { line, reason })));
                }
            }
        }
        let left = std::mem::take(&mut self.cells).len();
        let reason = match (left, self.depth) {
            (0, 0) => return Ok(None),
            (0, _) => "the JSON that begins here ends too early".to_string(),
            (cells, _) => super::cells::wrong_size(cells),
        };
        self.depth = 0;
        Ok(Some(Err(RowError { line: self.first.max(self.cells_line), reason })))
    }

    /// The text of the next element, with its line.
    fn element(&mut self, lines: &mut Lines) -> io::Result<Option<(u64, Vec<u8>)>> {
        let outer = usize::from(self.in_array);
        loop {
            if self.at == self.rest.len() {
                let Some(number) = lines.read(&mut self.rest)? else {
                    let element = std::mem::take(&mut self.element);
                    let complete = self.depth == 0 && !element.trim_ascii().is_empty();
                    return Ok(complete.then_some((self.first, element)));
                };
                (self.number, self.at) = (number, 0);
                self.rest.push(b'\n');
            }
            let c = self.rest[self.at];
            self.at += 1;
            if self.in_string {
                self.in_string = self.escaped || c != b'"';
                self.escaped = !self.escaped && c == b'\\';
            } else {
                self.in_string = c == b'"';
                let opens = matches!(c, b'{' | b'[');
                let closes = matches!(c, b'}' | b']');
                self.depth += usize::from(opens);
                self.depth -= usize::from(closes && self.depth > 0);
                let bracket = self.in_array && (opens && self.depth == 1 || closes && self.depth == 0);
                let between = self.depth <= outer && (bracket || matches!(c, b',' | b'\n'));
                if between {
                    let element = std::mem::take(&mut self.element);
                    if !element.trim_ascii().is_empty() {
                        return Ok(Some((self.first, element)));
                    }
                    continue;
                }
            }
            if self.element.is_empty() {
                if c.is_ascii_whitespace() {
                    continue;
                }
                self.first = self.number;
            }
            self.element.push(c);
        }
    }

    /// The puzzle of an element; nothing if it is a part of one.
    fn take(&mut self, line: u64, value: &Value) -> Result<Option<Entry>, String> {
        match value {
            Value::Object(object) => {
                let with = |is: fn(&str) -> bool, what: &str| {
                    let found: Vec<_> = object.iter().filter(|(key, _)| is(key)).collect();
                    match found[..] {
                        [] => Ok(None),
                        [(key, value)] => of_value(value).map(Some).map_err(|e| format!("{key}: {e}")),
                        _ => Err(format!("several keys could be the {what}; leave out all but one")),
                    }
                };
                let keys = object.keys().take(8).cloned().collect::<Vec<_>>().join("`, `");
                let quiz = with(names_quiz, "puzzle")?
                    .ok_or_else(|| format!("expected a key `puzzle` (and `solution`); found `{keys}`"))?;
                if self.solutions == Solutions::Ignored {
                    return Ok(Some(Entry { line, quiz, solution: None }));
                }
                let solution = with(names_solution, "solution")?;
                if let Some(solution) = solution {
                    Puzzle { quiz, solution }.check().map_err(|e| e.to_string())?;
                }
                Ok(Some(Entry { line, quiz, solution }))
            }
            Value::String(text) if text.chars().count() != 9 => {
                let quiz = board(&plain(text.as_bytes())).ok_or_else(|| why_no_board(text))?;
                Ok(Some(Entry { line, quiz, solution: None }))
            }
            other => {
                if self.cells.is_empty() {
                    self.cells_line = line;
                }
                flatten(other, &mut self.cells)?;
                if self.cells.len() < 81 {
                    return Ok(None);
                }
                let quiz = board_of(&std::mem::take(&mut self.cells))?;
                Ok(Some(Entry { line: self.cells_line, quiz, solution: None }))
            }
        }
    }
}

fn of_value(value: &Value) -> Result<Grid, String> {
    match value {
        Value::String(text) => board(&plain(text.as_bytes())).ok_or_else(|| why_no_board(text)),
        Value::Number(number) => Err(why_no_board(&number.to_string())),
        Value::Array(_) => {
            let mut cells = Vec::new();
            flatten(value, &mut cells)?;
            board_of(&cells)
        }
        _ => Err("expected 81 characters or an array of 81 numbers".into()),
    }
}

fn board_of(cells: &[u8]) -> Result<Grid, String> {
    let board = cells.try_into().ok().and_then(Grid::from_cells);
    board.ok_or_else(|| super::cells::wrong_size(cells.len()))
}

/// Cells of nested arrays of numbers and texts.
fn flatten(value: &Value, into: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| flatten(value, into)),
        Value::Null => {
            into.push(0);
            Ok(())
        }
        Value::Number(n) if n.as_f64().is_some_and(|n| (0.0..=9.0).contains(&n) && n.fract() == 0.0) => {
            into.push(n.as_f64().unwrap_or(0.0) as u8);
            Ok(())
        }
        Value::String(text) if text.is_empty() => {
            into.push(0);
            Ok(())
        }
        Value::String(text) => {
            for c in text.chars() {
                let digit = u8::try_from(c)
                    .ok()
                    .and_then(|c| if c == b' ' { Some(0) } else { super::cells::cell(c) });
                into.push(digit.ok_or_else(|| format!("{c:?} is no cell: expected 0 to 9"))?);
            }
            Ok(())
        }
        other => Err(format!("{other} is no cell: expected 0 to 9")),
    }
}
