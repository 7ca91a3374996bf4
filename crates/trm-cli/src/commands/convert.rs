//! `trm convert`

use super::read_model;
use crate::error::CliError;
use crate::output::{bytes, check_ending, check_output, print};
use std::path::PathBuf;
use trm::checkpoint::{Checkpoint, ModelFile, PaperCheckpoint};

/// Options of `trm convert`.
#[derive(clap::Args)]
#[command(after_help = "\
The format of a file follows from its ending: .safetensors, or PyTorch's for anything else.
A file of another program may not tell its cycles: they are given by --set. An official checkpoint of the paper's model
tells neither cycles nor heads; they are read from the all_config.yaml beside it, given by --set, or assumed as published
(L_cycles 6, H_cycles 3, num_heads 8, puzzle_emb_len 16, halt_max_steps 16), which is told.

Examples:
  trm convert checkpoints/trm_sudoku_best.pt model.safetensors
  trm convert --production checkpoints/trm_sudoku_last.pt small.pt
  trm convert --set num_heads=4 official.pt model.safetensors")]
pub struct ConvertArgs {
    /// File to read
    input: PathBuf,
    /// File to write
    output: PathBuf,
    /// Keep weights and configuration only
    #[arg(long)]
    production: bool,
    /// What a file of another program does not tell, as in H_cycles=4
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Reads one file and writes the other.
pub fn run(args: ConvertArgs) -> Result<(), CliError> {
    check_output(&args.output, &[&args.input])?;
    check_ending(&args.output, &["a model"], ".safetensors or .pt")?;
    let file = match read_model(Some(&args.input), &args.set)? {
        ModelFile::Trm(checkpoint) if args.production => {
            let production = Checkpoint { optimizer: None, history: None, training: None, ..*checkpoint };
            ModelFile::Trm(Box::new(production))
        }
        ModelFile::Paper(checkpoint) if args.production => {
            ModelFile::Paper(Box::new(PaperCheckpoint { training: None, ..*checkpoint }))
        }
        file => file,
    };
    file.write(&args.output).map_err(|e| CliError::Failed(e.to_string()))?;
    let size = std::fs::metadata(&args.output).map_or(0, |m| m.len());
    print(&format!("{}: {}\n", args.output.display(), bytes(size)))
}
