//! `trm compare`

use crate::error::CliError;
use crate::output::{percent, pictures, print, print_json};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use trm::plot::draw_comparison;
use trm::train::compare::{Group, RunRecord, group_runs};

/// Options of `trm compare`.
#[derive(clap::Args)]
#[command(after_help = "\
Runs that differ in the seed alone are taken together. The first is the baseline; the others are named by the settings in
which they differ from it. Runs of the documented family and of the paper's model can stand side by side. Accuracies are of the rows held out, where a run has them, else the best in validation.

Examples:
  trm train --data d.csv --set seed=1 --run runs/base-1
  trm train --data d.csv --set seed=1 gates=vector --run runs/vector-1
  trm compare runs/base-1 runs/vector-1 --plot gates.png")]
pub struct CompareArgs {
    /// Run folders, the baseline first
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Draw blanks right and loss by epoch, or by step if a run is of the paper's model: a PNG, and an SVG beside it
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// (mean, least, largest) over the runs of a group.
type Spread = Option<[f64; 3]>;

#[derive(Serialize)]
struct Row {
    name: String,
    runs: usize,
    blank_accuracy: Spread,
    cell_accuracy: Spread,
    board_accuracy: Spread,
    /// Seconds of training.
    elapsed_s: Spread,
}

impl Row {
    fn of(group: &Group) -> Self {
        Self {
            name: group.name(),
            runs: group.runs.len(),
            blank_accuracy: group.spread(RunRecord::blank_accuracy),
            cell_accuracy: group.spread(RunRecord::cell_accuracy),
            board_accuracy: group.spread(RunRecord::board_accuracy),
            elapsed_s: group.spread(|run| run.history.last()?.elapsed_s),
        }
    }
}

/// Reads the runs, prints and draws.
pub fn run(args: CompareArgs) -> Result<(), CliError> {
    let runs: Result<Vec<_>, _> = args.runs.iter().map(|folder| RunRecord::read(folder)).collect();
    let plot = args.plot.as_ref().map(|plot| pictures(plot, &[])).transpose()?;
    let groups = group_runs(runs.map_err(|e| CliError::Input(e.to_string()))?);
    if let Some((png, svg)) = &plot {
        draw_comparison(&groups, "Tiny Recursive Model: runs side by side", png, svg)
            .map_err(|e| CliError::Failed(format!("{}: {e}", png.display())))?;
    }
    let rows: Vec<Row> = groups.iter().map(Row::of).collect();
    if args.json { print_json(&rows) } else { print(&table(&rows)) }
}

/// A table in Markdown.
fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| settings | runs | blanks right | least to most | gain | cells right | boards right | training |\n|---|---|---|---|---|---|---|---|\n",
    );
    let share = |spread: Spread| spread.map_or("".into(), |[mean, ..]| percent(mean));
    let baseline = rows[0].blank_accuracy;
    for (i, row) in rows.iter().enumerate() {
        let range = row
            .blank_accuracy
            .map_or("".into(), |[_, least, most]| format!("{:.2} to {:.2} %", 100.0 * least, 100.0 * most));
        let gain = match (row.blank_accuracy, baseline) {
            (Some([mean, ..]), Some([baseline, ..])) if i > 0 => format!("{:+.2}", 100.0 * (mean - baseline)),
            _ => "".into(),
        };
        let time = row.elapsed_s.map_or("".into(), |[mean, ..]| format!("{mean:.0} s"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {range} | {gain} | {} | {} | {time} |",
            row.name,
            row.runs,
            share(row.blank_accuracy),
            share(row.cell_accuracy),
            share(row.board_accuracy),
        );
    }
    text
}
