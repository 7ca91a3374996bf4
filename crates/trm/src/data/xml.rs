//! Puzzles in XML: every attribute and text of 81 cells, as in the files of OpenSudoku.

use super::cells::{exact, names_solution, plain};
use super::lines::Lines;
use super::reader::{Entry, RowError};
use std::collections::VecDeque;
use std::io;

/// Puzzles of the line that was read last.
#[derive(Default)]
pub(super) struct Xml {
    ready: VecDeque<Result<Entry, RowError>>,
}

impl Xml {
    /// The next puzzle; nothing at the end.
    pub(super) fn next(&mut self, lines: &mut Lines) -> io::Result<Option<Result<Entry, RowError>>> {
        let mut line = Vec::new();
        while self.ready.is_empty() {
            let Some(number) = lines.read(&mut line)? else { return Ok(None) };
            self.take(number, &plain(&line));
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, line: u64, text: &str) {
        let mut before = "";
        for piece in text.split(['"', '\'', '<', '>']) {
            let name = before.trim_end().strip_suffix('=').unwrap_or("").trim_end();
            let name = name.rsplit([' ', '\t', ':']).next().unwrap_or("");
            match exact(piece.trim().as_bytes()) {
                Some(_) if names_solution(name) => {}
                Some(quiz) => self.ready.push_back(Ok(Entry { line, quiz, solution: None })),
                None if name == "data" => {
                    let reason = format!(
                        "data: {}; a game that is under way has another form: export its puzzle",
                        super::cells::why_no_board(piece)
                    );
                    self.ready.push_back(Err(RowError { line, reason }));
                }
                None => {}
            }
            before = piece;
        }
    }
}
