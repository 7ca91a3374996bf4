//! `trm data harden`

use super::{check_csv, input_error, range, save};
use crate::commands::puzzles::{Puzzles, or_standard_input};
use crate::error::CliError;
use crate::signals::stop_on_ctrl_c;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use trm::parallel::Threads;
use trm::sudoku::{Grid, Hardener, Puzzle};

/// Options of `trm data harden`.
#[derive(Args)]
pub struct HardenArgs {
    /// Hard puzzles to start from: a file in any form, or a single puzzle of 81 characters; standard input without it
    #[arg(value_name = "FILE|PUZZLE")]
    parents: Option<String>,
    /// Number of puzzles
    #[arg(short = 'n', long, value_name = "N")]
    count: usize,
    /// Guesses that the exact solver should need, as `trm data grade` counts them
    #[arg(long, value_name = "RANGE", default_value = "20-1000", value_parser = range::<u32>)]
    guesses: RangeInclusive<u32>,
    /// Make nothing that stands in this file, however it is turned or its digits are named; may be repeated
    #[arg(long, value_name = "FILE")]
    exclude: Vec<String>,
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

/// Makes the puzzles and writes them; what was made before Ctrl-C, or before nothing new was found, is written too.
pub fn run(args: &HardenArgs) -> Result<(), CliError> {
    let threads = Threads::new(args.threads);
    let parents = or_standard_input(args.parents.clone(), "a file or a puzzle")?;
    let read = std::iter::once(&parents).chain(&args.exclude).map(Path::new);
    check_csv(args.out.as_deref(), &read.collect::<Vec<_>>())?;
    let parents = read_legal(&parents)?;
    let mut hardener = Hardener::new(args.seed, parents, args.guesses.clone(), &threads);
    for path in &args.exclude {
        hardener.exclude(&read_legal(path)?, &threads);
    }
    let mut puzzles = Vec::new();
    let ending = make(&mut hardener, args.count, &threads, &mut puzzles);
    if ending.is_err() && puzzles.is_empty() {
        return ending;
    }
    save(&puzzles, args.out.as_deref())?;
    ending
}

/// Puzzles of a file, none of which breaks the rules.
fn read_legal(input: &str) -> Result<Vec<Grid>, CliError> {
    let puzzles = Puzzles::of(input)?;
    puzzles.check_givens()?;
    Ok(puzzles.grids.into_iter().map(|(_, grid)| grid).collect())
}

/// Adds puzzles until there are `count`, behind a bar if a terminal shows it.
fn make(
    hardener: &mut Hardener,
    count: usize,
    threads: &Threads,
    puzzles: &mut Vec<Puzzle>,
) -> Result<(), CliError> {
    let stop = stop_on_ctrl_c(false);
    let bar = ProgressBar::new(count as u64);
    let template = "{pos}/{len} puzzles [{bar:30}] {per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    while puzzles.len() < count {
        if stop.load(Ordering::SeqCst) {
            return Err(CliError::Interrupted);
        }
        puzzles.extend(hardener.more(threads).map_err(input_error)?);
        puzzles.truncate(count);
        bar.set_position(puzzles.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}
