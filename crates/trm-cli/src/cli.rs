//! The command line: one subcommand for each thing a person wants done.

use crate::commands::{bench, compare, completions, compress, convert, data, eval, info, solve, train};
use crate::error::CliError;
use clap::{Parser, Subcommand};

/// Tiny Recursive Models: small networks that solve Sudoku by refining a latent hypothesis and an answer.
#[derive(Parser)]
#[command(name = "trm", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "\
Examples:
  trm train --preset quick                 train on generated puzzles for a few minutes
  trm train --data data/sudoku.csv         the documented run with the documented settings
  trm solve 53..7....6..195...(81 cells)   solve one puzzle with the model just trained
  trm eval --data data/test.csv            accuracy of a model on puzzles with solutions

Exit codes: 0 done; 1 the run failed, or a puzzle was left unsolved; 2 wrong usage or input; 130 Ctrl-C.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a model: puzzles in, checkpoints and a picture of the history out
    Train(train::TrainArgs),
    /// Solve puzzles with a trained model and check every answer
    Solve(solve::SolveArgs),
    /// Accuracy of a model on puzzles whose solutions are known
    Eval(eval::EvalArgs),
    /// Training runs side by side: what differs and what came of it
    Compare(compare::CompareArgs),
    /// What is inside a model file
    Info(info::InfoArgs),
    /// Turn a model file into another format, or into a production file
    Convert(convert::ConvertArgs),
    /// Make a model smaller and faster: weights of 8 or 4 bits, and fewer of them
    Compress(compress::CompressArgs),
    /// Check, describe, generate, harden, grade and complete puzzles
    Data(data::DataArgs),
    /// Speed and memory of training and solving on this machine
    Bench(bench::BenchArgs),
    /// Completions for your shell
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// Runs the chosen command.
    pub fn run(self) -> Result<(), CliError> {
        trm::choose_level().map_err(|e| CliError::Input(e.to_string()))?;
        match self.command {
            Command::Train(args) => train::run(args),
            Command::Solve(args) => solve::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Compare(args) => compare::run(args),
            Command::Info(args) => info::run(args),
            Command::Convert(args) => convert::run(args),
            Command::Compress(args) => compress::run(args),
            Command::Data(args) => data::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Completions(args) => completions::run(args),
        }
    }
}
