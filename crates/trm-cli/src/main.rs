//! `trm`: train, evaluate and watch Tiny Recursive Models solve Sudoku.

mod cli;
mod commands;
mod error;
mod output;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: trm::AlignedMemory = trm::AlignedMemory;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trm: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
