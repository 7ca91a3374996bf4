//! `trm eval`

use super::{BudgetArgs, ModelArgs};
use crate::error::CliError;
use crate::output::{percent, pictures, print, print_json, tell};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use trm::data::{ReadOptions, read_puzzles as read_file};
use trm::evaluate::{Evaluation, evaluate};
use trm::plot::draw_thinking;
use trm::sudoku::Puzzle;

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
    /// File of puzzles with solutions, as CSV or JSON, plain or in .gz or .zip; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    data: PathBuf,
    /// Use the last N rows only
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Leave out rows that are no puzzle, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    /// Draw boards solved by outer cycles and restarts: a PNG, and an SVG beside it
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// Time for all puzzles, divided by their number.
    ms_per_puzzle: f64,
}

/// Evaluates and prints.
pub fn run(args: EvalArgs) -> Result<(), CliError> {
    let read = [Some(&*args.data), args.model.model.as_deref()];
    let read: Vec<&Path> = read.into_iter().flatten().collect();
    let plot = args.plot.as_ref().map(|plot| pictures(plot, &read)).transpose()?;
    let puzzles = read_puzzles(&args.data, args.last, args.skip_bad_rows)?;
    let puzzles = &puzzles[..];
    let (model, threads) = args.model.load()?;
    let started = std::time::Instant::now();
    let budget = args.budget.budget(&*model, 0)?;
    let evaluation = evaluate(&*model, puzzles, &budget, &threads);
    let ms_per_puzzle = 1e3 * started.elapsed().as_secs_f64() / puzzles.len() as f64;
    if let Some((png, svg)) = &plot {
        let title = format!("{} on {}", args.model.name(), args.data.display());
        draw_thinking(&evaluation, ms_per_puzzle, &title, png, svg)
            .map_err(|e| CliError::Failed(format!("{}: {e}", png.display())))?;
    }
    if args.json {
        return print_json(&Report { evaluation, ms_per_puzzle });
    }
    print(&table(&evaluation))?;
    print(&format!("\n{ms_per_puzzle:.2} ms a puzzle, {:.0} puzzles/s\n", 1e3 / ms_per_puzzle))
}

/// Reads the last puzzles of a file, or all of them; at least one.
pub fn read_puzzles(data: &Path, last: Option<usize>, skip_bad_rows: bool) -> Result<Vec<Puzzle>, CliError> {
    let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
    let mut dataset = read_file(data, &options).map_err(|e| CliError::Input(e.to_string()))?;
    if dataset.skipped_count > 0 {
        tell(&format!("skipped {} bad rows", dataset.skipped_count));
    }
    let count = dataset.puzzles.len();
    dataset.puzzles.drain(..count - last.unwrap_or(count).min(count));
    if dataset.puzzles.is_empty() {
        return Err(CliError::Input(format!("{} holds no puzzles", data.display())));
    }
    Ok(dataset.puzzles)
}

/// The evaluation as a table for a person.
pub fn table(e: &Evaluation) -> String {
    let mut text = format!(
        "puzzles          {}\nloss             {:.4}\nconstraint loss  {:.4}\ncell accuracy    {}\nblank accuracy   {}\n\
         board accuracy   {}\nconflicts        {:.2} cells a board\n",
        e.puzzles,
        e.loss,
        e.constraint_loss,
        percent(e.cell_accuracy),
        percent(e.blank_accuracy),
        percent(e.board_accuracy),
        e.conflicts_per_board
    );
    let _ = writeln!(text, "\ngivens   boards   solved");
    for (givens, [boards, right]) in &e.boards_by_givens {
        let _ = writeln!(text, "{givens:>6} {boards:>8} {:>9}", percent(*right as f64 / *boards as f64));
    }
    let share = |solved: u64| percent(solved as f64 / e.puzzles.max(1) as f64);
    let _ = writeln!(text, "\nwithin cycles   solved, givens kept");
    for (cycles, solved) in &e.solved_by_cycles {
        let _ = writeln!(text, "{cycles:>13} {:>8}", share(*solved));
    }
    if e.solved_by_restarts.len() > 1 {
        let _ = writeln!(text, "\nwithin restarts   solved, givens kept");
        for (restarts, solved) in e.solved_by_restarts.iter().enumerate() {
            let _ = writeln!(text, "{restarts:>15} {:>8}", share(*solved));
        }
    }
    if e.solved_by_guesses.len() > 1 {
        let _ = writeln!(text, "\nwithin guesses   solved, givens kept");
        for (guesses, solved) in &e.solved_by_guesses {
            let _ = writeln!(text, "{guesses:>14} {:>8}", share(*solved));
        }
    }
    text
}
