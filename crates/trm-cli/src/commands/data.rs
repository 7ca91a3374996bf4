//! `trm data`

mod harden;

use crate::error::CliError;
use crate::output::{percent, print, print_json};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use trm::data::{Dataset, ReadOptions, Stats, duplicates, read_csv, write_csv, write_rows};
use trm::parallel::Threads;
use trm::sudoku::{Generator, Grid, Puzzle, Solutions, grade, parse_puzzles, solve};

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
    Check(CheckArgs),
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
  trm data complete hard.txt --out hard.csv")]
    Complete(CompleteArgs),
}

#[derive(Args)]
struct CheckArgs {
    /// CSV files, .csv or .csv.gz
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Also solve every puzzle: is its solution the only one?
    #[arg(long)]
    unique: bool,
    /// Print JSON, one object a file
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct StatsArgs {
    /// CSV file, .csv or .csv.gz
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct FileArgs {
    /// CSV file, list of puzzles, or a single puzzle of 81 characters
    #[arg(value_name = "FILE|PUZZLE")]
    input: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    /// List of puzzles, one a line or as grids of nine lines
    file: PathBuf,
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
        DataCommand::Check(args) => check(&args),
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

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let mut wrong = 0;
    for path in &args.files {
        let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        let dataset = read_csv(path, &options).map_err(input_error)?;
        let twins = duplicates(&dataset.puzzles);
        let ambiguous: Vec<usize> = match args.unique {
            true => (0..dataset.puzzles.len())
                .filter(|i| solve(&dataset.puzzles[*i].quiz) != Solutions::One(dataset.puzzles[*i].solution))
                .collect(),
            false => Vec::new(),
        };
        wrong += dataset.skipped_count + ambiguous.len();
        if args.json {
            let bad: Vec<_> =
                dataset.skipped.iter().map(|e| json!({"line": e.line, "reason": e.reason})).collect();
            print_json(&json!({
                "file": path, "good_rows": dataset.puzzles.len(), "bad_rows": dataset.skipped_count,
                "bad": bad, "duplicates": twins.len(),
                "not_unique": args.unique.then_some(ambiguous.len()),
            }))?;
            continue;
        }
        print(&report(path, &dataset, &twins, args.unique.then_some(&ambiguous)))?;
    }
    match wrong {
        0 => Ok(()),
        n => Err(CliError::Input(format!("{n} bad rows"))),
    }
}

fn report(
    path: &Path,
    dataset: &Dataset,
    twins: &[(usize, usize)],
    ambiguous: Option<&Vec<usize>>,
) -> String {
    let mut text = format!(
        "{}: {} good rows, {} bad rows, {} quizzes that stand twice\n",
        path.display(),
        dataset.puzzles.len(),
        dataset.skipped_count,
        twins.len()
    );
    let more = |text: &mut String, count: usize| {
        if count > SHOWN {
            let _ = writeln!(text, "  ... and {} more", count - SHOWN);
        }
    };
    dataset.skipped.iter().take(SHOWN).for_each(|error| {
        let _ = writeln!(text, "  {error}");
    });
    more(&mut text, dataset.skipped_count);
    twins.iter().take(SHOWN).for_each(|(first, again)| {
        let _ = writeln!(text, "  puzzle {} is puzzle {} again", again + 1, first + 1);
    });
    more(&mut text, twins.len());
    if let Some(ambiguous) = ambiguous {
        let _ = writeln!(text, "{} puzzles whose solution is not the only one", ambiguous.len());
        ambiguous.iter().take(SHOWN).for_each(|i| {
            let _ = writeln!(text, "  puzzle {}: {}", i + 1, dataset.puzzles[*i].quiz.to_line());
        });
        more(&mut text, ambiguous.len());
    }
    text
}

fn stats(args: &StatsArgs) -> Result<(), CliError> {
    let dataset = read_csv(&args.file, &ReadOptions::default()).map_err(input_error)?;
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
    let puzzles = generator.generate_many(args.count, &Threads::new(args.threads)).map_err(input_error)?;
    save(&puzzles, args.out.as_deref())
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

/// Puzzles of a CSV file, of a list, or the one that the text is.
fn read_quizzes(input: &str) -> Result<Vec<Grid>, CliError> {
    let path = Path::new(input);
    if !path.exists() {
        return Grid::parse(input)
            .map(|grid| vec![grid])
            .map_err(|e| CliError::Input(format!("{input}: no such file, and no puzzle: {e}")));
    }
    let name = input.trim_end_matches(".gz");
    if name.ends_with(".csv") {
        let dataset = read_csv(path, &ReadOptions::default()).map_err(input_error)?;
        return Ok(dataset.puzzles.into_iter().map(|p| p.quiz).collect());
    }
    read_list(path).map(|list| list.into_iter().map(|(_, grid)| grid).collect())
}

fn read_list(path: &Path) -> Result<Vec<(usize, Grid)>, CliError> {
    let fail = |e: &dyn std::fmt::Display| CliError::Input(format!("{}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| fail(&e))?;
    parse_puzzles(&text).map_err(|e| fail(&e))
}

fn grades(args: &FileArgs) -> Result<(), CliError> {
    let quizzes = read_quizzes(&args.input)?;
    let grades: Vec<Option<u32>> = quizzes.iter().map(grade).collect();
    let without = grades.iter().filter(|g| g.is_none()).count();
    let counted: Vec<u32> = grades.iter().flatten().copied().collect();
    let mean = counted.iter().map(|g| f64::from(*g)).sum::<f64>() / counted.len().max(1) as f64;
    if args.json {
        return print_json(&json!({"guesses": grades, "mean": mean, "not_unique": without}));
    }
    if let [only] = grades[..] {
        return match only {
            Some(guesses) => print(&format!("{guesses} guesses\n")),
            None => Err(CliError::Input("the puzzle does not have exactly one solution".into())),
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

fn complete(args: &CompleteArgs) -> Result<(), CliError> {
    let list = read_list(&args.file)?;
    let mut solved: Vec<(usize, Grid, Solutions)> =
        list.into_iter().map(|(line, grid)| (line, grid, Solutions::None)).collect();
    let parts = solved.chunks_mut(256).collect();
    Threads::new(args.threads).for_each(parts, |part: &mut [(usize, Grid, Solutions)]| {
        part.iter_mut().for_each(|(_, grid, solutions)| *solutions = solve(grid));
    });
    let mut puzzles = Vec::with_capacity(solved.len());
    let mut refused = Vec::new();
    for (line, quiz, solutions) in solved {
        match solutions {
            Solutions::One(solution) => puzzles.push(Puzzle { quiz, solution }),
            Solutions::None => refused.push(format!("line {line}: no solution")),
            Solutions::Many(..) => refused.push(format!("line {line}: several solutions")),
        }
    }
    save(&puzzles, args.out.as_deref())?;
    if refused.is_empty() {
        return Ok(());
    }
    let shown = refused.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
    Err(CliError::Input(format!("{}: {} puzzles refused:\n  {shown}", args.file.display(), refused.len())))
}
