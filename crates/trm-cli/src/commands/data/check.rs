//! `trm data check`

use super::SHOWN;
use crate::commands::puzzles::{or_standard_input, solve_exactly};
use crate::error::CliError;
use crate::output::{print, print_json};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use trm::data::{DataError, PuzzleReader, RowError, Solutions as Beside, duplicates};
use trm::parallel::Threads;
use trm::sudoku::{Contradiction, Puzzle, Solutions, solve};

/// Options of `trm data check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    /// Files of puzzles, with or without solutions: lists, grids, CSV, JSON, plain or in .gz or .zip; `-` for standard input
    files: Vec<PathBuf>,
    /// Also solve every puzzle: is its solution the only one?
    #[arg(long)]
    unique: bool,
    /// Print JSON, one object a file
    #[arg(long)]
    json: bool,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    good: Vec<Puzzle>,
    /// In which line each of them begins.
    lines: Vec<u64>,
    /// Of the good rows: those without a solution. Their puzzle stands for it.
    without_solution: usize,
    bad: usize,
    /// The first bad rows.
    listed: Vec<RowError>,
    /// Pairs of rows with the same puzzle.
    twins: Vec<(usize, usize)>,
    /// Rows whose puzzle has no solution, several, or another one than stands there.
    not_unique: Option<Vec<(usize, &'static str)>>,
}

/// Checks every file and prints what was found.
pub fn run(args: &CheckArgs) -> Result<(), CliError> {
    let mut wrong = 0;
    let named = (!args.files.is_empty()).then(|| args.files.clone());
    let files = match named {
        Some(files) => files,
        None => vec![or_standard_input(None::<PathBuf>, "a file")?],
    };
    for path in &files {
        let found = check(path, args)?;
        wrong += found.bad + found.not_unique.as_ref().map_or(0, Vec::len);
        if args.json {
            let bad: Vec<_> =
                found.listed.iter().map(|e| json!({"line": e.line, "reason": e.reason})).collect();
            print_json(&json!({
                "file": path, "good_rows": found.good.len(), "bad_rows": found.bad, "bad": bad,
                "without_solution": found.without_solution, "duplicates": found.twins.len(),
                "not_unique": found.not_unique.as_ref().map(Vec::len),
            }))?;
        } else {
            print(&report(path, &found))?;
        }
    }
    match wrong {
        0 => Ok(()),
        n => Err(CliError::Input(format!("{n} bad rows"))),
    }
}

fn check(path: &Path, args: &CheckArgs) -> Result<Found, CliError> {
    let input = |e: DataError| CliError::Input(e.to_string());
    let mut found = Found::default();
    let reader = PuzzleReader::open(path, Beside::IfThere).map_err(input)?;
    // A row of most files is two boards, a comma and a line end: reserving this once avoids a second copy while growing.
    found.good.reserve_exact((reader.size() / 164 + 1).min(1 << 24) as usize);
    for entry in reader {
        let entry = match entry {
            Ok(entry) => entry,
            Err(DataError::Row { source, .. }) => {
                found.refuse(source);
                continue;
            }
            Err(e) => return Err(input(e)),
        };
        if entry.solution.is_none() {
            if let Some(contradiction) = Contradiction::of(&entry.quiz) {
                let reason = contradiction.in_words(&entry.quiz);
                found.refuse(RowError { line: entry.line, reason });
                continue;
            }
            found.without_solution += 1;
        }
        let solution = entry.solution.unwrap_or(entry.quiz);
        found.good.push(Puzzle { quiz: entry.quiz, solution });
        found.lines.push(entry.line);
    }
    found.twins = duplicates(&found.good);
    found.not_unique = args.unique.then(|| {
        let solve = |puzzle: &Puzzle| solve(&puzzle.quiz);
        let solutions = solve_exactly(&found.good, &Threads::new(args.threads), solve);
        let wrong = |(i, solutions): (usize, Solutions)| match solutions {
            Solutions::None => Some((i, "no solution")),
            Solutions::Many(..) => Some((i, "several solutions")),
            Solutions::One(only) => {
                let puzzle = found.good[i];
                (puzzle.solution != only && puzzle.solution != puzzle.quiz).then_some((i, "another solution"))
            }
        };
        solutions.into_iter().enumerate().filter_map(wrong).collect()
    });
    Ok(found)
}

impl Found {
    fn refuse(&mut self, error: RowError) {
        self.bad += 1;
        if self.listed.len() < 1000 {
            self.listed.push(error);
        }
    }
}

fn report(path: &Path, found: &Found) -> String {
    let mut text = format!(
        "{}: {} good rows, {} bad rows, {} quizzes that stand twice\n",
        path.display(),
        found.good.len(),
        found.bad,
        found.twins.len()
    );
    if found.without_solution > 0 {
        let _ = writeln!(
            text,
            "  {} puzzles have no solution beside them; `trm data complete` adds it",
            found.without_solution
        );
    }
    let more = |text: &mut String, count: usize| {
        if count > SHOWN {
            let _ = writeln!(text, "  ... and {} more", count - SHOWN);
        }
    };
    found.listed.iter().take(SHOWN).for_each(|error| {
        let _ = writeln!(text, "  {error}");
    });
    more(&mut text, found.bad);
    found.twins.iter().take(SHOWN).for_each(|(first, again)| {
        let _ = writeln!(
            text,
            "  line {}: the puzzle of line {} again",
            found.lines[*again], found.lines[*first]
        );
    });
    more(&mut text, found.twins.len());
    if let Some(wrong) = &found.not_unique {
        let _ = writeln!(text, "{} puzzles whose solution is not the only one", wrong.len());
        wrong.iter().take(SHOWN).for_each(|(i, what)| {
            let (line, puzzle) = (found.lines[*i], &found.good[*i]);
            let _ = writeln!(text, "  line {line}: {what}: {}", puzzle.quiz.to_line());
        });
        more(&mut text, wrong.len());
    }
    text
}
