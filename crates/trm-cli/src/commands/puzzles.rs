//! Puzzles as a command is given them: in its arguments, in files, or on standard input.

use crate::error::CliError;
use std::io::{Cursor, IsTerminal};
use std::path::Path;
use trm::data::{DataError, PuzzleReader, Solutions, read_quizzes};
use trm::parallel::Threads;
use trm::sudoku::{Contradiction, Grid, Solutions as Found, solve_within};

/// Guesses of the exact solver before it leaves a puzzle to the model: some tenths of a second.
const SOON: u32 = 100_000;

/// Puzzles of one place.
pub struct Puzzles {
    /// What to call the place in messages.
    pub origin: String,
    /// Each puzzle with the line in which it begins.
    pub grids: Vec<(u64, Grid)>,
}

impl Puzzles {
    /// The puzzle that the text is, or those of the file that it names; standard input for `-`.
    pub fn of(text: &str) -> Result<Self, CliError> {
        if let Ok(grid) = Grid::parse(text) {
            return Ok(Self { origin: "the puzzle".into(), grids: vec![(1, grid)] });
        }
        if text == "-" || Path::new(text).exists() {
            return Self::read(Path::new(text));
        }
        // A grid of several lines.
        let name = Path::new("the puzzle given");
        let bytes = Cursor::new(text.to_string().into_bytes());
        let grids = PuzzleReader::from_bytes(bytes, name, Solutions::Ignored).and_then(|reader| {
            reader.map(|entry| entry.map(|e| (e.line, e.quiz))).collect::<Result<Vec<_>, _>>()
        });
        match grids {
            Ok(grids) => Ok(Self { origin: "the puzzle".into(), grids }),
            Err(DataError::Row { source, .. }) if text.contains('\n') => {
                Err(CliError::Input(format!("{text}: {source}")))
            }
            Err(DataError::Row { source, .. }) => {
                Err(CliError::Input(format!("{text}: no such file, and no puzzle: {}", source.reason)))
            }
            Err(_) => {
                let count = text.chars().count();
                Err(CliError::Input(format!(
                    "{text}: no such file, and no puzzle: expected 81 cells, found {count}"
                )))
            }
        }
    }

    /// The puzzles of a file; standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let grids = read_quizzes(path).map_err(|e| CliError::Input(e.to_string()))?;
        Ok(Self {
            origin: if path == Path::new("-") { "standard input".into() } else { path.display().to_string() },
            grids,
        })
    }

    /// What a puzzle is called in messages.
    pub fn name(&self, index: usize) -> String {
        let (line, grid) = &self.grids[index];
        match self.origin.as_str() {
            "the puzzle" => grid.to_line(),
            origin => format!("{origin}: line {line}"),
        }
    }

    /// Refuses puzzles whose givens break the rules, by their cells.
    pub fn check_givens(&self) -> Result<(), CliError> {
        let clash = |i: usize| self.grids[i].1.clash();
        self.refuse((0..self.grids.len()).filter_map(|i| Some((i, clash(i)?))).collect())
    }

    /// For each puzzle whether its solution is the only one, where that is soon found out; one without any is refused.
    pub fn are_unique(&self, threads: &Threads) -> Result<Vec<Option<bool>>, CliError> {
        self.check_givens()?;
        let found = solve_exactly(&self.grids, threads, |(_, grid)| solve_within(grid, SOON));
        let why = |i: usize| {
            let grid = &self.grids[i].1;
            Contradiction::of(grid)
                .map(|found| found.in_words(grid))
                .unwrap_or_else(|| "no board fits these givens, though none breaks a rule".into())
        };
        let without =
            |(i, found): (usize, &Option<Found>)| (*found == Some(Found::None)).then(|| (i, why(i)));
        self.refuse(found.iter().enumerate().filter_map(without).collect())?;
        Ok(found.into_iter().map(|found| found.map(|found| matches!(found, Found::One(_)))).collect())
    }

    fn refuse(&self, wrong: Vec<(usize, String)>) -> Result<(), CliError> {
        let lines = || wrong.iter().map(|(i, reason)| format!("{}: {reason}", self.name(*i)));
        match wrong.len() {
            0 => Ok(()),
            1 => Err(CliError::Input(lines().collect())),
            count => {
                let mut text = format!("{count} puzzles contradict themselves:");
                lines().take(20).for_each(|line| text.extend(["\n  ", &line]));
                Err(CliError::Input(text))
            }
        }
    }
}

/// What `solver` says of each puzzle, in order.
pub fn solve_exactly<P: Sync, T: Send>(
    puzzles: &[P],
    threads: &Threads,
    solver: impl Fn(&P) -> T + Sync,
) -> Vec<T> {
    let mut found: Vec<Option<T>> = puzzles.iter().map(|_| None).collect();
    threads.for_each(
        puzzles.chunks(256).zip(found.chunks_mut(256)).collect(),
        |(puzzles, found): (&[P], &mut [Option<T>])| {
            found.iter_mut().zip(puzzles).for_each(|(found, puzzle)| *found = Some(solver(puzzle)));
        },
    );
    found.into_iter().flatten().collect()
}

/// Where a command without a named file reads from: standard input, unless that is a keyboard.
pub fn or_standard_input<T: From<&'static str>>(named: Option<T>, what: &str) -> Result<T, CliError> {
    match named {
        Some(named) => Ok(named),
        None if std::io::stdin().is_terminal() => {
            Err(CliError::Input(format!("give {what}, or puzzles on standard input")))
        }
        None => Ok("-".into()),
    }
}
