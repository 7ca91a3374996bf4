//! What a line of a list is: boards, a row of a grid, or something that stands beside them.

use super::cells::{board, cell, exact, fields, unquoted, why_no_board, wrong_size};
use crate::sudoku::Grid;

/// A line of a list.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// A frame, a comment, or nothing.
    Nothing,
    /// `[Name]`: what follows belongs to it.
    Section(String),
    /// Boards that stand side by side.
    Boards(Vec<Grid>),
    /// One row of a grid.
    Row(Row),
    /// Words, as in a name or a title.
    Note,
    /// A number alone.
    Number(u64),
    /// None of these, with the reason.
    Bad(String),
}

/// Nine cells of a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Digits; 0 is a blank.
    pub(super) cells: [u8; 9],
    /// Nine times this character: a row of blanks in a grid that has such blanks elsewhere, otherwise a frame or nothing.
    pub(super) doubtful: Option<u8>,
    /// Which of [`DOUBTFUL`] stand beside digits.
    pub(super) blanks: u8,
    /// The row's number or letter at its front, from 1.
    pub(super) label: Option<usize>,
}

/// Characters of blanks that frames are made of too.
const DOUBTFUL: &[u8; 4] = b"-*_ ";

impl Row {
    /// A row of nine characters.
    fn of(text: &[u8]) -> Option<Self> {
        let text: &[u8; 9] = text.try_into().ok()?;
        let mut row = Self { cells: [0; 9], doubtful: None, blanks: 0, label: None };
        for (into, c) in row.cells.iter_mut().zip(text) {
            *into = if *c == b' ' { 0 } else { cell(*c)? };
        }
        let is_doubtful = DOUBTFUL.contains(&text[0]) && text.iter().all(|c| *c == text[0]);
        row.doubtful = is_doubtful.then_some(text[0]);
        if row.doubtful.is_none() {
            if row.cells == [0; 9] && text.iter().any(|c| *c != text[0]) {
                return None;
            }
            row.blanks = text
                .iter()
                .filter_map(|c| DOUBTFUL.iter().position(|d| d == c))
                .map(|i| 1 << i)
                .fold(0, |a, b| a | b);
        }
        Some(row)
    }

    /// Whether it counts in a grid in which blanks of these kinds stand beside digits.
    pub(super) fn counts(&self, blanks: u8) -> bool {
        self.doubtful
            .is_none_or(|c| DOUBTFUL.iter().position(|d| *d == c).is_some_and(|i| blanks & (1 << i) != 0))
    }
}

/// Finds out what a line is.
pub(super) fn classify(text: &str) -> Line {
    if let Some(grid) = exact(text.as_bytes()) {
        return Line::Boards(vec![grid]);
    }
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return match text.len() {
            9 => Row::of(text.as_bytes()).map_or(Line::Nothing, Line::Row),
            81 => Line::Bad("81 spaces: if this is a board without givens, write dots for its blanks".into()),
            _ => Line::Nothing,
        };
    }
    if trimmed.starts_with(['#', ';', '%']) || trimmed.starts_with("//") || trimmed.starts_with("--  ") {
        return Line::Nothing;
    }
    if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']'))
        && name.chars().all(|c| c.is_alphabetic() || c == ' ')
    {
        return Line::Section(name.trim().to_lowercase());
    }
    if let Some(row) = row(text) {
        return Line::Row(row);
    }
    if is_frame(trimmed) {
        return Line::Nothing;
    }
    match boards(text) {
        Ok(boards) if !boards.is_empty() => return Line::Boards(boards),
        Ok(_) => {}
        Err(reason) => return Line::Bad(reason),
    }
    if let Some((label, rest)) = without_label(trimmed) {
        if let Some(grid) = board(rest) {
            return Line::Boards(vec![grid]);
        }
        if let (Some(row), Some(label)) = (row(rest), label) {
            return Line::Row(Row { label: Some(label), ..row });
        }
    }
    leftover(trimmed)
}

/// Lines between the rows of a grid and around it.
fn is_frame(text: &str) -> bool {
    let drawn = |c: char| "-=*_~".contains(c);
    let run = text.as_bytes().windows(3).any(|w| w[0] == w[1] && w[1] == w[2] && drawn(char::from(w[0])));
    let same = |c: char| text.chars().all(|d| d == c);
    run && text.len() != 81 && text.chars().all(|c| drawn(c) || "+|:.'`,/\\ ".contains(c))
        || (text.len() >= 3 && (same('+') || same('|') || same('=')))
        || (text.contains('+') && text.chars().all(|c| "+-|= ".contains(c)))
}

/// A row of a grid: nine cells with decoration between them.
fn row(text: &str) -> Option<Row> {
    let bare: Vec<u8> = text.bytes().filter(|c| !b"|!: \t".contains(c)).collect();
    if bare.len() == 9
        && let Some(row) = Row::of(&bare)
    {
        return Some(row);
    }
    // Blanks may be spaces.
    let spaced: Vec<u8> = text.bytes().filter(|c| *c != b'|').collect();
    if spaced.len() == 9
        && spaced.iter().any(u8::is_ascii_digit)
        && let Some(row) = Row::of(&spaced)
    {
        return Some(row);
    }
    // Cells of a spreadsheet, blanks empty.
    [b',', b';', b'\t'].iter().find_map(|delimiter| {
        let fields = fields(text, *delimiter)?;
        let cells: Option<Vec<u8>> = fields
            .iter()
            .map(|field| match unquoted(field).as_bytes() {
                [] => Some(b'0'),
                [c] => cell(*c).map(|digit| digit + b'0'),
                _ => None,
            })
            .collect();
        let cells = cells?;
        // A delimiter behind the last cell is none between two.
        let cells = if cells.len() == 10 && fields[9].trim().is_empty() { &cells[..9] } else { &cells[..] };
        Row::of(cells)
    })
}

/// The boards of a line, with names and numbers beside them.
fn boards(text: &str) -> Result<Vec<Grid>, String> {
    if let Some(grid) = board(text) {
        return Ok(vec![grid]);
    }
    for delimiter in [b'\t', b',', b';'] {
        let Some(fields) = fields(text, delimiter) else { continue };
        if fields.len() > 1 && fields.iter().any(|field| board(field).is_some()) {
            return chosen(fields.iter().map(|field| &**field));
        }
    }
    let tokens = || text.split([' ', '\t', '|', ',', ';']).filter(|token| !token.is_empty());
    chosen(tokens())
}

/// The boards among some values; an error if one looks like a board and is none.
fn chosen<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<Grid>, String> {
    let mut boards = Vec::new();
    for value in values {
        match board(value) {
            Some(grid) => boards.push(grid),
            None if looks_like_a_board(unquoted(value)) => return Err(why_no_board(value)),
            None => {}
        }
    }
    Ok(boards)
}

/// Long, and cells for the most part.
fn looks_like_a_board(value: &str) -> bool {
    let cells = value.bytes().filter(|c| cell(*c).is_some()).count();
    value.len() >= 20 && cells * 10 >= value.len() * 9 && value.bytes().any(|c| c.is_ascii_digit())
}

/// What stands behind `12.`, `A:`, `3)`, `A ` or `3 ` at the front; with the number of a row.
fn without_label(text: &str) -> Option<(Option<usize>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (label, rest) = text.split_at(end);
    let digits = label.trim_start_matches(['r', 'R']);
    let number = match (label.as_bytes(), digits.parse::<usize>()) {
        (_, Ok(number)) if digits.len() <= 7 => Some(number),
        ([c], _) if c.is_ascii_alphabetic() => Some(usize::from(c.to_ascii_uppercase() - b'A') + 1),
        _ => return None,
    };
    let marked = rest.strip_prefix(['.', ')', ':', '|']);
    let rest = marked.or_else(|| rest.strip_prefix([' ', '\t']))?;
    Some((number, rest.trim_start()))
}

/// A line without cells that count: words, a number, or something wrong.
fn leftover(text: &str) -> Line {
    if text.len() <= 7 && text.bytes().all(|c| c.is_ascii_digit()) {
        return Line::Number(text.parse().unwrap_or(0));
    }
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    let all_cells = text.bytes().all(|c| cell(c).is_some() || b" |".contains(&c));
    let word = text
        .split(|c: char| !c.is_alphabetic())
        .any(|word| word.chars().count() > 1 && !word.chars().all(|c| c == 'x' || c == 'X'));
    let heading = letters.eq_ignore_ascii_case("ABCDEFGHI");
    if (word || heading) && !all_cells {
        return Line::Note;
    }
    let cells = text.bytes().filter(|c| cell(*c).is_some()).count();
    match cells {
        36 | 144 | 256 | 625 if all_cells => Line::Bad(wrong_size(cells)),
        4 | 6 | 12 | 16 | 25 if all_cells => Line::Bad(format!(
            "{cells} cells in a row, as in {}; trm knows Sudoku of 9x9 cells only",
            if cells == 16 {
                "a 16x16 board, or a board of 4x4 cells".into()
            } else {
                format!("a board of {cells}x{cells} cells")
            }
        )),
        _ => Line::Bad(format!("expected 81 cells, or 9 as a row of a grid; found {}", text.chars().count())),
    }
}
