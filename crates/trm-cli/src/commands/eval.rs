//! `trm eval`

use super::{BudgetArgs, ModelArgs};
use crate::error::CliError;
use crate::output::{percent, print, print_json};
use std::fmt::Write;
use std::path::PathBuf;
use trm::data::{ReadOptions, read_csv};
use trm::evaluate::{Evaluation, evaluate};
use trm::model::{Engine, Recording};

/// Options of `trm eval`.
#[derive(clap::Args)]
#[command(after_help = "\
Accuracies are of the bare prediction: givens count as predicted, not as given. Cell accuracy flatters, since a
given only has to be copied; accuracy on blanks and whole boards do not.

Examples:
  trm eval --data data/sudoku.csv --last 1000
  trm eval --model checkpoints/trm_sudoku_best.pt --data test.csv.gz --json")]
pub struct EvalArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    /// CSV file (.csv, .csv.gz) with puzzles and solutions
    #[arg(short, long, value_name = "FILE")]
    data: PathBuf,
    /// Use the last N rows only
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Leave out rows that are no puzzle, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Evaluates and prints.
pub fn run(args: EvalArgs) -> Result<(), CliError> {
    let options = ReadOptions { skip_bad_rows: args.skip_bad_rows, ..ReadOptions::default() };
    let dataset = read_csv(&args.data, &options).map_err(|e| CliError::Input(e.to_string()))?;
    if !dataset.skipped.is_empty() {
        eprintln!("skipped {} bad rows", dataset.skipped.len());
    }
    let first = dataset.puzzles.len() - args.last.unwrap_or(usize::MAX).min(dataset.puzzles.len());
    let puzzles = &dataset.puzzles[first..];
    if puzzles.is_empty() {
        return Err(CliError::Input(format!("{} holds no puzzles", args.data.display())));
    }
    let (model, threads) = args.model.load()?;
    let started = std::time::Instant::now();
    let budget = args.budget.budget(model.config());
    let evaluation = evaluate(&model, &mut Engine::new(Recording::Nothing), puzzles, &budget, &threads);
    if args.json {
        return print_json(&evaluation);
    }
    print(&table(&evaluation))?;
    print(&format!("{:.0} puzzles/s\n", puzzles.len() as f64 / started.elapsed().as_secs_f64()))
}

/// The evaluation as a person reads it.
pub fn table(e: &Evaluation) -> String {
    let mut text = format!(
        "puzzles          {}\nloss             {:.4}\ncell accuracy    {}\nblank accuracy   {}\nboard accuracy   {}\n",
        e.puzzles,
        e.loss,
        percent(e.cell_accuracy),
        percent(e.blank_accuracy),
        percent(e.board_accuracy)
    );
    let _ = writeln!(text, "\ngivens   boards   solved");
    for (givens, [boards, right]) in &e.boards_by_givens {
        let _ = writeln!(text, "{givens:>6} {boards:>8} {:>9}", percent(*right as f64 / *boards as f64));
    }
    text
}
