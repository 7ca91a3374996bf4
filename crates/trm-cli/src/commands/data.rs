//! `trm data`

mod check;
mod harden;

use super::puzzles::{Puzzles, or_standard_input, solve_exactly};
use crate::error::CliError;
use crate::output::{check_ending, check_output, percent, print, print_json};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use trm::data::{ReadOptions, Stats, read_puzzles, write_csv, write_rows};
use trm::parallel::Threads;
use trm::sudoku::{Generator, Grid, Puzzle, Solutions, grade, solve};

/// Rows and pairs that `check` prints before it only counts.
const SHOWN: usize = 20;

/// Options of `trm data`.
#[derive(Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Find every row that is no puzzle, quizzes that stand twice, and puzzles with several solutions
    #[command(after_help = "\
Exit code 2 if a row is no puzzle or, with --unique, has several solutions; quizzes that stand twice are only told.

Examples:
  trm data check data/sudoku.csv
  trm data check --unique --json data/*.csv.gz")]
    Check(check::CheckArgs),
    /// Describe a file: rows, givens, balance of the digits
    #[command(after_help = "Example:\n  trm data stats data/sudoku.csv")]
    Stats(StatsArgs),
    /// Make puzzles with exactly one solution
    #[command(after_help = "\
The same seed makes the same puzzles on every machine and any number of threads.

Examples:
  trm data generate --count 100000 --givens 30-40 --out easy.csv.gz
  trm data generate --count 10 --givens 22-28 --guesses 1-20 --seed 7")]
    Generate(GenerateArgs),
    /// Make hard puzzles out of hard puzzles: faster than `generate` finds some, and harder ones
    #[command(after_help = "\
A puzzle to start from loses one or two clues, gets others until it has one solution again, and then loses those that \
are redundant. What has another grade than --guesses is dropped, and so is a known puzzle turned and renamed: no two \
results are symmetric images of each other, nor of a puzzle to start from, nor of one in a file under --exclude.

The harder the puzzles to start from, the faster it goes. The same seed and files make the same puzzles on every \
machine and any number of threads. Ctrl-C writes what was made so far.

Examples:
  trm data harden hard.txt --count 100000 --guesses 20-400 --exclude test.csv --out harder.csv.gz
  trm data harden -n 5 8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..")]
    Harden(harden::HardenArgs),
    /// Number of guesses that the exact solver needs: 0 is solved by singles alone
    #[command(after_help = "\
Examples:
  trm data grade 8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..
  trm data grade hard.txt --json")]
    Grade(FileArgs),
    /// Solve a list of puzzles exactly and write puzzles with solutions
    #[command(after_help = "\
A puzzle without a solution, or with several, is refused and named.

Example:
  trm data complete hard.txt --out hard.csv
  cat grids.txt | trm data complete > solved.csv")]
    Complete(CompleteArgs),
}

#[derive(Args)]
struct StatsArgs {
    /// File of puzzles with solutions; standard input without it
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct FileArgs {
    /// File of puzzles in any form, or a single puzzle of 81 characters; standard input without it
    #[arg(value_name = "FILE|PUZZLE")]
    input: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

#[derive(Args)]
struct GenerateArgs {
    /// Number of puzzles
    #[arg(short = 'n', long, value_name = "N")]
    count: usize,
    /// Givens, as in 30 or 30-40
    #[arg(long, value_name = "RANGE", default_value = "30-40", value_parser = range::<usize>)]
    givens: RangeInclusive<usize>,
    /// Guesses that the exact solver should need, as in 1-5
    #[arg(long, value_name = "RANGE", value_parser = range::<u32>)]
    guesses: Option<RangeInclusive<u32>>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File to write, .csv or .csv.gz; standard output without it
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Worker threads; 0 for one on each CPU. Results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

#[derive(Args)]
struct CompleteArgs {
    /// File of puzzles in any form; standard input without it
    file: Option<PathBuf>,
    /// File to write, .csv or .csv.gz; standard output without it
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Worker threads; 0 for one on each CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// `3` or `3-5`.
fn range<T: std::str::FromStr + PartialOrd + Copy>(text: &str) -> Result<RangeInclusive<T>, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.trim().parse(), high.trim().parse()) {
        (Ok(low), Ok(high)) if low <= high => Ok(low..=high),
        _ => Err("expected a number or a range, as in 30 or 30-40".into()),
    }
}

/// Runs the chosen command.
pub fn run(args: DataArgs) -> Result<(), CliError> {
    match args.command {
        DataCommand::Check(args) => check::run(&args),
        DataCommand::Stats(args) => stats(&args),
        DataCommand::Generate(args) => generate(&args),
        DataCommand::Harden(args) => harden::run(&args),
        DataCommand::Grade(args) => grades(&args),
        DataCommand::Complete(args) => complete(&args),
    }
}

fn input_error(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

fn stats(args: &StatsArgs) -> Result<(), CliError> {
    let file = or_standard_input(args.file.clone(), "a file")?;
    let dataset = read_puzzles(&file, &ReadOptions::default()).map_err(input_error)?;
    let stats = Stats::of(&dataset.puzzles);
    if args.json {
        return print_json(&stats);
    }
    let [fewest, mean, most] = stats.givens;
    let mut text = format!(
        "puzzles      {}\nduplicates   {}\ngivens       {fewest:.0} to {most:.0}, mean {mean:.2}\n",
        stats.puzzles, stats.duplicates
    );
    text.push_str(&histogram("givens", &stats.by_givens));
    let _ = writeln!(text, "\ndigit    share of the givens");
    for (digit, share) in (1..).zip(stats.digit_shares) {
        let _ = writeln!(text, "{digit:>5} {:>10}", percent(share));
    }
    print(&text)
}

/// Counts with bars.
fn histogram<K: std::fmt::Display>(title: &str, counts: &BTreeMap<K, usize>) -> String {
    let largest = counts.values().copied().max().unwrap_or(1).max(1);
    let mut text = format!("\n{title:>8}  puzzles\n");
    for (key, count) in counts {
        let _ = writeln!(text, "{key:>8} {count:>8}  {}", "#".repeat((50 * count).div_ceil(largest)));
    }
    text
}

fn generate(args: &GenerateArgs) -> Result<(), CliError> {
    if !(17..=81).contains(args.givens.start()) || *args.givens.end() > 81 {
        return Err(CliError::Input("--givens: from 17 to 81".into()));
    }
    let mut generator = Generator::new(args.seed, args.givens.clone());
    if let Some(guesses) = &args.guesses {
        generator = generator.with_guesses(guesses.clone());
    }
    check_csv(args.out.as_deref(), &[])?;
    let puzzles = generator.generate_many(args.count, &Threads::new(args.threads)).map_err(input_error)?;
    save(&puzzles, args.out.as_deref())
}

/// Checks, before any work, the file in which puzzles are to be saved.
fn check_csv(out: Option<&Path>, inputs: &[&Path]) -> Result<(), CliError> {
    let Some(out) = out else { return Ok(()) };
    check_ending(out, &["CSV", "compressed"], ".csv or .csv.gz")?;
    check_output(out, inputs)
}

fn save(puzzles: &[Puzzle], out: Option<&Path>) -> Result<(), CliError> {
    let Some(path) = out else {
        let mut text = Vec::new();
        write_rows(&mut text, puzzles).map_err(|e| CliError::Failed(e.to_string()))?;
        return print(&String::from_utf8_lossy(&text));
    };
    write_csv(path, puzzles).map_err(|e| CliError::Failed(format!("{}: {e}", path.display())))?;
    print(&format!("{}: {} puzzles\n", path.display(), puzzles.len()))
}

fn grades(args: &FileArgs) -> Result<(), CliError> {
    let input = or_standard_input(args.input.clone(), "a file or a puzzle")?;
    let puzzles = Puzzles::of(&input)?;
    puzzles.check_givens()?;
    let quizzes: Vec<Grid> = puzzles.grids.iter().map(|(_, grid)| *grid).collect();
    let grades = solve_exactly(&quizzes, &Threads::new(args.threads), grade);
    let without = grades.iter().filter(|g| g.is_none()).count();
    let counted: Vec<u32> = grades.iter().flatten().copied().collect();
    let mean = counted.iter().map(|g| f64::from(*g)).sum::<f64>() / counted.len().max(1) as f64;
    if args.json {
        return print_json(&json!({"guesses": grades, "mean": mean, "not_unique": without}));
    }
    if let [only] = grades[..] {
        return match only {
            Some(guesses) => print(&format!("{guesses} guesses\n")),
            None => {
                Err(CliError::Input(format!("the puzzle has {}", solutions_in_words(&solve(&quizzes[0])))))
            }
        };
    }
    let mut by_class: BTreeMap<u32, usize> = BTreeMap::new();
    // Classes 0, 1, 2-3, 4-7, ...: by their lowest grade.
    counted.iter().for_each(|g| *by_class.entry(if *g == 0 { 0 } else { 1 << g.ilog2() }).or_default() += 1);
    let mut text =
        format!("{} puzzles, mean {mean:.2} guesses, {without} without exactly one solution\n", grades.len());
    text.push_str(&histogram("from", &by_class));
    print(&text)
}

/// How many solutions a puzzle has.
fn solutions_in_words(solutions: &Solutions) -> &'static str {
    match solutions {
        Solutions::None => "no solution",
        Solutions::One(_) => "one solution",
        Solutions::Many(..) => "several solutions",
    }
}

fn complete(args: &CompleteArgs) -> Result<(), CliError> {
    let file = or_standard_input(args.file.clone(), "a file")?;
    check_csv(args.out.as_deref(), &[&file])?;
    let list = Puzzles::read(&file)?;
    let quizzes: Vec<Grid> = list.grids.iter().map(|(_, grid)| *grid).collect();
    let mut puzzles = Vec::with_capacity(quizzes.len());
    let mut refused = Vec::new();
    let found = solve_exactly(&quizzes, &Threads::new(args.threads), solve);
    for ((line, quiz), solutions) in list.grids.iter().zip(found) {
        match solutions {
            Solutions::One(solution) => puzzles.push(Puzzle { quiz: *quiz, solution }),
            other => {
                let reason = quiz.clash().unwrap_or_else(|| solutions_in_words(&other).into());
                refused.push(format!("line {line}: {reason}"));
            }
        }
    }
    if !puzzles.is_empty() {
        save(&puzzles, args.out.as_deref())?;
    }
    if refused.is_empty() {
        return Ok(());
    }
    let mut shown = refused.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
    if refused.len() > SHOWN {
        let _ = write!(shown, "\n  ... and {} more", refused.len() - SHOWN);
    }
    Err(CliError::Input(format!("{}: {} puzzles refused:\n  {shown}", list.origin, refused.len())))
}
