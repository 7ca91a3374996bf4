//! Cells in a piece of text: characters of every writing, and boards of 81 cells.

use crate::sudoku::Grid;
use std::borrow::Cow;

/// A line as text in which digits, spaces, quotation marks and frames are plain ASCII.
///
/// Bytes that are no UTF-8 are taken for Latin-1. NUL and marks without width are dropped.
pub(super) fn plain(line: &[u8]) -> Cow<'_, str> {
    if line.is_ascii() && memchr::memchr(0, line).is_none() {
        return Cow::Borrowed(std::str::from_utf8(line).expect("ASCII is UTF-8"));
    }
    let latin = || Cow::Owned(line.iter().map(|b| char::from(*b)).collect::<String>());
    let text = std::str::from_utf8(line).map_or_else(|_| latin(), Cow::Borrowed);
    Cow::Owned(text.chars().filter_map(plain_char).collect())
}

fn plain_char(c: char) -> Option<char> {
    let digit = |zero: u32| char::from_u32(c as u32 - zero + u32::from(b'0'));
    match c {
        '\0' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' => None,
        '\t' => Some('\t'),
        '\u{660}'..='\u{669}' => digit(0x660),
        '\u{6f0}'..='\u{6f9}' => digit(0x6f0),
        '\u{966}'..='\u{96f}' => digit(0x966),
        // Full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0),
        '·' | '•' | '∙' | '⋅' | '□' | '▢' | '◻' | '⬜' | '。' => Some('.'),
        '–' | '—' | '‐' | '‑' | '‒' | '−' => Some('-'),
        '“' | '”' | '„' | '«' | '»' => Some('"'),
        '‘' | '’' | '‚' => Some('\''),
        '─' | '━' | '┄' | '┅' | '┈' | '┉' | '╌' | '╍' | '═' | '╴' | '╶' | '╸' | '╺' => {
            Some('-')
        }
        '│' | '┃' | '┆' | '┇' | '┊' | '┋' | '╎' | '╏' | '║' | '╵' | '╷' | '╹' | '╻' => {
            Some('|')
        }
        '\u{2500}'..='\u{257f}' => Some('+'),
        c if c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

/// The digit of a character that stands for a cell, 0 for a blank. A space is no cell here.
pub(super) fn cell(c: u8) -> Option<u8> {
    match c {
        b'1'..=b'9' => Some(c - b'0'),
        b'0' | b'.' | b'_' | b'*' | b'x' | b'X' | b'?' | b'-' => Some(0),
        _ => None,
    }
}

/// A board of exactly these characters: 81 cells, or digits and spaces. Spaces beside other blanks are no cells, but
/// stand where something is missing.
pub(super) fn exact(text: &[u8]) -> Option<Grid> {
    let text: &[u8; 81] = text.try_into().ok()?;
    let mut cells = [0; 81];
    let (mut spaces, mut blanks) = (0, 0);
    for (into, c) in cells.iter_mut().zip(text) {
        match cell(*c) {
            Some(digit) => {
                blanks += usize::from(digit == 0);
                *into = digit;
            }
            None if *c == b' ' => spaces += 1,
            None => return None,
        }
    }
    if spaces > 0 && (blanks > 0 || spaces == 81) { None } else { Grid::from_cells(cells) }
}

/// Nine rows with one and the same character between them, which is no cell of theirs.
fn joined_rows(text: &[u8]) -> Option<Grid> {
    let between = *text.get(9)?;
    if text.len() != 89 || !text.iter().skip(9).step_by(10).all(|c| *c == between) {
        return None;
    }
    let cells: Vec<u8> = text.iter().enumerate().filter(|(i, _)| i % 10 != 9).map(|(_, c)| *c).collect();
    if cells.contains(&between) || between.is_ascii_digit() { None } else { exact(&cells) }
}

/// A value without quotation marks, the `'` and `="..."` that spreadsheets put around text, and white space around.
pub(super) fn unquoted(value: &str) -> &str {
    let mut value = value.trim();
    if let Some(text) = value.strip_prefix("=\"").and_then(|v| v.strip_suffix('"')) {
        value = text;
    }
    for mark in ['"', '\'', '`'] {
        if let Some(text) = value.strip_prefix(mark) {
            value = text.strip_suffix(mark).unwrap_or(text);
        }
    }
    value
}

/// The board that a value is: 81 cells, nine rows with something between them, or cells with spaces or commas
/// between them, as in a list of numbers.
pub(super) fn board(value: &str) -> Option<Grid> {
    exact(value.as_bytes()).or_else(|| {
        let value = unquoted(value);
        exact(value.as_bytes()).or_else(|| joined_rows(value.as_bytes())).or_else(|| spread(value))
    })
}

/// 81 cells with decoration between them.
fn spread(value: &str) -> Option<Grid> {
    let mut cells = [0; 81];
    let mut count = 0;
    for c in value.bytes().filter(|c| !b" \t\r\n,;|[](){}".contains(c)) {
        *cells.get_mut(count)? = cell(c)?;
        count += 1;
    }
    if count == 81 { Grid::from_cells(cells) } else { None }
}

/// Why a value that should be a board is none.
pub(super) fn why_no_board(value: &str) -> String {
    let value = unquoted(value);
    let is_number = |c: char| c.is_ascii_digit() || "eE+-.,".contains(c);
    if value.len() < 40
        && value.contains(['e', 'E', '.'])
        && value.chars().all(is_number)
        && value.parse::<f64>().is_ok()
    {
        return format!(
            "`{value}` is a number whose digits were lost when the file was saved: read and write the column as text \
             (pandas: dtype=str; Excel: format the cells as text)"
        );
    }
    if value.len() < 81 && value.len() > 40 && value.bytes().all(|c| c.is_ascii_digit()) {
        return format!(
            "expected 81 cells, found {}: if zeros at the front were lost because the file was saved as numbers, read \
             and write the column as text (pandas: dtype=str)",
            value.len()
        );
    }
    let is_cell = |c: char| u8::try_from(c).ok().and_then(cell).is_some();
    let is_decoration = |c: char| " \t\r\n,;|[]()".contains(c);
    if let Some((position, found)) =
        (1..).zip(value.chars()).find(|(_, c)| !is_cell(*c) && !is_decoration(*c))
    {
        return format!(
            "character {found:?} at position {position}: expected 1 to 9, or one of 0 . _ * x ? - for a blank"
        );
    }
    match value.chars().filter(|c| is_cell(*c)).count() {
        0 => "no cells".into(),
        count => wrong_size(count),
    }
}

/// What to say of a board that has not 81 cells.
pub(super) fn wrong_size(cells: usize) -> String {
    match cells {
        16 | 36 | 144 | 256 | 625 => {
            let side = cells.isqrt();
            format!("a board of {side}x{side} cells; trm knows Sudoku of 9x9 cells only")
        }
        _ => format!("expected 81 cells, found {cells}"),
    }
}

/// Fields of a line, with the byte at which each begins; a delimiter within quotation marks is text. Nothing if a
/// quotation mark is not closed.
pub(super) fn fields(line: &str, delimiter: u8) -> Option<Vec<Cow<'_, str>>> {
    let bytes = line.as_bytes();
    if memchr::memchr(b'"', bytes).is_none() {
        return Some(line.split(char::from(delimiter)).map(Cow::Borrowed).collect());
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let start = at + bytes[at..].iter().take_while(|c| **c == b' ').count();
        if bytes.get(start) != Some(&b'"') {
            let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |n| at + n);
            fields.push(Cow::Borrowed(&line[at..end]));
            at = end;
        } else {
            let mut text = String::new();
            at = start + 1;
            loop {
                let quote = at + memchr::memchr(b'"', &bytes[at..])?;
                text.push_str(&line[at..quote]);
                at = quote + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                text.push('"');
                at += 1;
            }
            // What stands between the closing mark and the delimiter belongs to the field.
            let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |n| at + n);
            text.push_str(&line[at..end]);
            fields.push(Cow::Owned(text));
            at = end;
        }
        if at == bytes.len() {
            return Some(fields);
        }
        at += 1;
    }
}

/// Whether a column, or a key of JSON, of this name holds puzzles.
pub(super) fn names_quiz(name: &str) -> bool {
    matches!(
        &*simplified(name),
        "quiz"
            | "quizzes"
            | "puzzle"
            | "puzzles"
            | "question"
            | "questions"
            | "sudoku"
            | "sudokus"
            | "unsolved"
            | "problem"
            | "problems"
            | "givens"
            | "input"
            | "inputs"
            | "grid"
            | "board"
            | "quizes"
            | "sudokupuzzle"
            | "puzzlestring"
    )
}

/// Whether a column, or a key of JSON, of this name holds solutions.
pub(super) fn names_solution(name: &str) -> bool {
    matches!(
        &*simplified(name),
        "solution"
            | "solutions"
            | "answer"
            | "answers"
            | "solved"
            | "output"
            | "outputs"
            | "target"
            | "targets"
            | "label"
            | "labels"
            | "sudokusolution"
            | "solutionstring"
            | "solvedsudoku"
    )
}

fn simplified(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
