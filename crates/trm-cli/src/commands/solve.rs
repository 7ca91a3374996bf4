//! `trm solve`

mod trace_text;

use super::{BudgetArgs, ModelArgs};
use crate::error::CliError;
use crate::output::print;
use clap::ValueEnum;
use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write as _};
use std::path::PathBuf;
use trace_text::trace_text;
use trm::atomic_file::write_atomically;
use trm::model::Thinker;
use trm::parallel::Threads;
use trm::solve::{Answer, Givens, solve};
use trm::sudoku::{Grid, parse_puzzles};
use trm::trace::{Trace, solve_traced};

/// Options of `trm solve`.
#[derive(clap::Args)]
#[command(after_help = "\
A puzzle is 81 characters, row by row, with 0 . _ or a space where it is blank; in a file also nine lines of nine.
Every answer is checked: it is called solved only when it obeys the rules and agrees with the givens.
Exit code 0 if every puzzle was solved, 1 if one was not, 2 if the input is no puzzle.

Examples:
  trm solve 530070000600195000098000060800060003400803001700020006060000280000419005000080079
  trm solve --input puzzle.txt --output solution.txt
  cat puzzles.txt | trm solve --format line
  trm solve --trace 53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79")]
pub struct SolveArgs {
    /// Puzzles of 81 characters; without any, they are read from --input or standard input
    #[arg(value_name = "PUZZLE")]
    puzzles: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    /// File of puzzles, one a line or as grids of nine lines
    #[arg(short, long, value_name = "FILE", conflicts_with = "puzzles")]
    input: Option<PathBuf>,
    /// Write the answers to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How to print an answer
    #[arg(long, value_enum, default_value_t = Format::Grid)]
    format: Format,
    /// Show the bare prediction of all 81 cells, even where it differs from the givens
    #[arg(long)]
    raw: bool,
    /// Show how the answer came about: every outer cycle, hypothesis, restart and guess
    #[arg(long)]
    trace: bool,
}

/// Guesses of the model that comes with the program, unless another number is wished: some seconds of work.
const GUESSES: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A 9x9 picture; cells in conflict are marked with `!`
    Grid,
    /// 81 digits, then `solved` or `unsolved`
    Line,
    /// One JSON object a line: digits, probabilities, solved, conflicts
    Json,
}

/// Solves and prints; fails if a puzzle was left unsolved.
pub fn run(args: SolveArgs) -> Result<(), CliError> {
    let puzzles = args.read_puzzles()?;
    let (model, threads) = args.model.load()?;
    let answers = args.answers(&*model, &puzzles, &threads)?;
    let mut text = String::new();
    for (number, (answer, trace)) in (1..).zip(&answers) {
        match args.format {
            Format::Json => text.push_str(&json_line(answer, trace.as_ref())?),
            Format::Line => {
                let verdict = if answer.solved { "solved" } else { "unsolved" };
                trace.iter().for_each(|trace| text.push_str(&trace_text(trace, args.format)));
                let _ = writeln!(text, "{} {verdict}", answer.board.to_line());
            }
            Format::Grid => {
                if answers.len() > 1 {
                    let _ = writeln!(text, "puzzle {number}");
                }
                trace.iter().for_each(|trace| text.push_str(&trace_text(trace, args.format)));
                text.push_str(&answer_grid(answer));
            }
        }
    }
    match &args.output {
        Some(path) => write_atomically(path, |file| file.write_all(text.as_bytes()))
            .map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))?,
        None => print(&text)?,
    }
    let unsolved = answers.iter().filter(|(answer, _)| !answer.solved).count();
    if unsolved > 0 {
        return Err(CliError::Failed(format!("{unsolved} of {} puzzles left unsolved", answers.len())));
    }
    Ok(())
}

impl SolveArgs {
    /// The answers, and how they came about if that is to be shown.
    fn answers(
        &self,
        model: &dyn Thinker,
        puzzles: &[Grid],
        threads: &Threads,
    ) -> Result<Vec<(Answer, Option<Trace>)>, CliError> {
        let givens = if self.raw { Givens::Predicted } else { Givens::Preserved };
        let guesses = if self.model.model.is_none() { GUESSES } else { 0 };
        let budget = self.budget.budget(model, guesses)?;
        if self.trace {
            let traced = solve_traced(model, puzzles, givens, &budget, threads);
            return Ok(traced.into_iter().map(|(answer, trace)| (answer, Some(trace))).collect());
        }
        let answers = solve(model, puzzles, givens, &budget, threads);
        Ok(answers.into_iter().map(|answer| (answer, None)).collect())
    }

    fn read_puzzles(&self) -> Result<Vec<Grid>, CliError> {
        let input = |e: &dyn std::fmt::Display, origin: &str| CliError::Input(format!("{origin}: {e}"));
        if !self.puzzles.is_empty() {
            let parse = |text: &String| Grid::parse(text).map_err(|e| input(&e, text));
            return self.puzzles.iter().map(parse).collect();
        }
        let (text, origin) = match &self.input {
            Some(path) => {
                let origin = path.display().to_string();
                (std::fs::read_to_string(path).map_err(|e| input(&e, &origin))?, origin)
            }
            None if std::io::stdin().is_terminal() => {
                return Err(CliError::Input(
                    "give a puzzle of 81 characters, --input FILE, or puzzles on standard input".into(),
                ));
            }
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(|e| input(&e, "standard input"))?;
                (text, "standard input".to_string())
            }
        };
        let puzzles = parse_puzzles(&text).map_err(|e| input(&e, &origin))?;
        if puzzles.is_empty() {
            return Err(CliError::Input(format!("{origin}: no puzzles in it")));
        }
        Ok(puzzles.into_iter().map(|(_, grid)| grid).collect())
    }
}

/// The verdict and the board, cells in conflict marked.
pub fn answer_grid(answer: &Answer) -> String {
    if answer.solved {
        return format!("{}solved\n\n", answer.board);
    }
    format!(
        "{}unsolved: the cells marked ! conflict with another cell or with a given\n\n",
        marked(&answer.board, &answer.conflicts, '!')
    )
}

/// A board with a mark behind some cells.
fn marked(board: &Grid, cells: &[usize], mark: char) -> String {
    let mut text = String::new();
    for (i, digit) in board.cells().iter().enumerate() {
        let digit = if *digit == 0 { '.' } else { char::from(b'0' + digit) };
        let _ = write!(text, " {digit}{}", if cells.contains(&i) { mark } else { ' ' });
        match i {
            26 | 53 => text.push_str("\n---------+---------+---------\n"),
            _ if i % 9 == 8 => text.push('\n'),
            _ if i % 3 == 2 => text.push('|'),
            _ => {}
        }
    }
    text
}

fn json_line(answer: &Answer, trace: Option<&Trace>) -> Result<String, CliError> {
    let failed = |e: serde_json::Error| CliError::Failed(e.to_string());
    let mut value = serde_json::to_value(answer.to_json()).map_err(failed)?;
    if let Some(trace) = trace {
        value["trace"] = serde_json::to_value(trace).map_err(failed)?;
    }
    Ok(format!("{value}\n"))
}
