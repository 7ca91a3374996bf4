//! `trm solve`

mod trace_text;

use super::puzzles::{Puzzles, or_standard_input};
use super::{BudgetArgs, ModelArgs};
use crate::error::CliError;
use crate::output::{check_ending, check_output, print};
use clap::ValueEnum;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use trace_text::trace_text;
use trm::atomic_file::write_atomically;
use trm::model::Thinker;
use trm::parallel::Threads;
use trm::solve::{Answer, Givens, solve};
use trm::sudoku::Grid;
use trm::trace::{Trace, solve_traced};

/// Options of `trm solve`.
#[derive(clap::Args)]
#[command(after_help = "\
A puzzle is 81 characters, row by row, with 0 . _ * x ? - or a space where it is blank. In a file it may also be a grid
of nine lines, a row of a CSV file, or JSON; the file may be in .gz or .zip. `-` is standard input.
Every answer is checked: it is called solved only when it obeys the rules and agrees with the givens.
An exact solver looks at every puzzle first: one without a solution is refused with what contradicts itself, one with
several is told.
Exit code 0 if every puzzle was solved, 1 if one was not, 2 if the input is no puzzle or has no solution.

Examples:
  trm solve 530070000600195000098000060800060003400803001700020006060000280000419005000080079
  trm solve puzzles.txt --output solution.txt
  trm data generate --count 100 | trm solve --format line
  cat puzzles.txt | trm solve --format line
  trm solve --trace 53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79")]
pub struct SolveArgs {
    /// Puzzles of 81 characters, or files of puzzles; without any, they are read from standard input
    #[arg(value_name = "PUZZLE|FILE")]
    puzzles: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    /// File of puzzles, as the arguments may be
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
    /// 81 digits, then `solved` (`solved, one of several solutions`) or `unsolved`
    Line,
    /// One JSON object a line: digits, probabilities, solved, conflicts, unique
    Json,
}

/// Solves and prints; fails if a puzzle was left unsolved.
pub fn run(args: SolveArgs) -> Result<(), CliError> {
    if let Some(output) = &args.output {
        let kind = if args.format == Format::Json { &["JSON"][..] } else { &[] };
        check_ending(output, kind, if args.format == Format::Json { ".json or .jsonl" } else { ".txt" })?;
        let read = args
            .puzzles
            .iter()
            .map(Path::new)
            .chain(args.input.as_deref())
            .chain(args.model.model.as_deref());
        check_output(output, &read.collect::<Vec<_>>())?;
    }
    let (puzzles, unique) = args.read_puzzles()?;
    let (model, threads) = args.model.load()?;
    let answers = args.answers(&*model, &puzzles, &threads)?;
    let mut text = String::new();
    for ((number, (answer, trace)), unique) in (1..).zip(&answers).zip(&unique) {
        let several = *unique == Some(false);
        match args.format {
            Format::Json => text.push_str(&json_line(answer, *unique, trace.as_ref())?),
            Format::Line => {
                let verdict = match (answer.solved, several) {
                    (true, true) => "solved, one of several solutions",
                    (true, false) => "solved",
                    (false, _) => "unsolved",
                };
                trace.iter().for_each(|trace| text.push_str(&trace_text(trace, args.format)));
                let _ = writeln!(text, "{} {verdict}", answer.board.to_line());
            }
            Format::Grid => {
                if answers.len() > 1 {
                    let _ = writeln!(text, "puzzle {number}");
                }
                trace.iter().for_each(|trace| text.push_str(&trace_text(trace, args.format)));
                text.push_str(&answer_grid(answer));
                if several {
                    text.truncate(text.trim_end().len());
                    text.push_str("\nthe puzzle has several solutions\n\n");
                }
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

    /// The puzzles, and for each whether its solution is the only one, as far as that is soon found out.
    fn read_puzzles(&self) -> Result<(Vec<Grid>, Vec<Option<bool>>), CliError> {
        let given = match &self.input {
            Some(path) => vec![Puzzles::read(path)?],
            None if self.puzzles.is_empty() => {
                vec![Puzzles::of(&or_standard_input(None::<String>, "a puzzle of 81 characters, a file")?)?]
            }
            None => self.puzzles.iter().map(|text| Puzzles::of(text)).collect::<Result<_, _>>()?,
        };
        let threads = Threads::new(self.model.threads);
        let unique =
            given.iter().map(|puzzles| puzzles.are_unique(&threads)).collect::<Result<Vec<_>, _>>()?;
        let puzzles = given.into_iter().flat_map(|puzzles| puzzles.grids).map(|(_, grid)| grid).collect();
        Ok((puzzles, unique.concat()))
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

fn json_line(answer: &Answer, unique: Option<bool>, trace: Option<&Trace>) -> Result<String, CliError> {
    let failed = |e: serde_json::Error| CliError::Failed(e.to_string());
    let mut value = serde_json::to_value(answer.to_json()).map_err(failed)?;
    value["unique"] = unique.into();
    if let Some(trace) = trace {
        value["trace"] = serde_json::to_value(trace).map_err(failed)?;
    }
    Ok(format!("{value}\n"))
}
