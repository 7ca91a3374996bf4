//! `trm convert`

use crate::error::CliError;
use crate::output::{bytes, print};
use std::path::PathBuf;
use trm::checkpoint::Checkpoint;

/// Options of `trm convert`.
#[derive(clap::Args)]
#[command(after_help = "\
The format of a file follows from its ending: .safetensors, or PyTorch's for anything else.

Examples:
  trm convert checkpoints/trm_sudoku_best.pt model.safetensors
  trm convert --production checkpoints/trm_sudoku_last.pt small.pt")]
pub struct ConvertArgs {
    /// File to read
    input: PathBuf,
    /// File to write
    output: PathBuf,
    /// Keep weights and configuration only
    #[arg(long)]
    production: bool,
}

/// Reads one file and writes the other.
pub fn run(args: ConvertArgs) -> Result<(), CliError> {
    let mut checkpoint = Checkpoint::read(&args.input).map_err(|e| CliError::Input(e.to_string()))?;
    if args.production {
        checkpoint = Checkpoint { optimizer: None, history: None, training: None, ..checkpoint };
    }
    checkpoint.write(&args.output).map_err(|e| CliError::Failed(e.to_string()))?;
    let size = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    print(&format!("{}: {}\n", args.output.display(), bytes(size)))
}
