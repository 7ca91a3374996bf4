//! `trm`: train, evaluate and watch Tiny Recursive Models solve Sudoku.

mod cli;
mod commands;
mod error;
mod output;
mod signals;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: trm::AlignedMemory = trm::AlignedMemory;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that went away has seen enough.
            if !matches!(error, error::CliError::OutputClosed) {
                output::tell(&format!("trm: {error}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}
