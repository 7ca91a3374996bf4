//! Accuracy against sparsity, as table and picture.

use super::CompressArgs;
use crate::error::CliError;
use crate::output::{percent, pictures, print, print_json};
use serde::Serialize;
use trm::checkpoint::Checkpoint;
use trm::compress::{SweepPoint, sweep};
use trm::parallel::Threads;
use trm::plot::draw_sparsity;
use trm::sudoku::Puzzle;

#[derive(Serialize)]
struct Report<'a> {
    puzzles: usize,
    points: &'a [SweepPoint],
}

/// Prunes, evaluates, prints as it goes, and draws.
pub fn run(
    args: &CompressArgs,
    checkpoint: &Checkpoint,
    puzzles: &[Puzzle],
    threads: &Threads,
) -> Result<(), CliError> {
    let mut read = vec![&*args.model];
    read.extend(args.data.as_deref());
    let plot = args.plot.as_ref().map(|plot| pictures(plot, &read)).transpose()?;
    let mut printed = Ok(());
    let mut show = |text: String| {
        if !args.json && printed.is_ok() {
            printed = print(&text);
        }
    };
    show(format!(
        "{:<14} {:>8} {:>10} {:>12} {:>10}\n",
        "pruning", "sparsity", "cells", "blank cells", "boards"
    ));
    let points = sweep(checkpoint, puzzles, threads, |p| {
        let shares = [p.cell_accuracy, p.blank_accuracy, p.board_accuracy].map(percent);
        let (name, sparsity) = (p.kind.name(), format!("{:.0} %", 100.0 * p.sparsity));
        show(format!("{name:<14} {sparsity:>8} {:>10} {:>12} {:>10}\n", shares[0], shares[1], shares[2]));
    });
    printed?;
    if let Some((png, svg)) = &plot {
        let name = args.model.file_name().unwrap_or(args.model.as_os_str());
        let title = format!("Pruning {} in one shot", name.display());
        let summary = format!("accuracy on {} puzzles, without training afterwards", puzzles.len());
        draw_sparsity(&points, &title, &summary, png, svg)
            .map_err(|e| CliError::Failed(format!("{}: {e}", png.display())))?;
    }
    if args.json { print_json(&Report { puzzles: puzzles.len(), points: &points }) } else { Ok(()) }
}
