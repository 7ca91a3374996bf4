//! One file for each subcommand; what they share is here.

pub mod bench;
pub mod completions;
pub mod convert;
pub mod data;
pub mod eval;
pub mod info;
mod progress;
pub mod solve;
pub mod train;

use crate::error::CliError;
use std::path::{Path, PathBuf};
use trm::checkpoint::Checkpoint;
use trm::config::TrmConfig;
use trm::model::{Budget, Model, Params};
use trm::parallel::Threads;

/// Where training leaves its model and solving looks for it.
pub const DEFAULT_MODEL: &str = "checkpoints/trm_sudoku_production.pt";

/// The options of every command that runs a trained model.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Model file: .pt or .safetensors
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_MODEL)]
    pub model: PathBuf,
    /// Worker threads; 0 for one on each CPU. Results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

/// How long the model may think about a puzzle.
#[derive(clap::Args)]
pub struct BudgetArgs {
    /// Most outer cycles; more than in training help a model that was trained with normalised or carried states
    /// [default: as in training]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_steps: Option<u32>,
    /// Start again from other random first states, up to N times, while a puzzle is unsolved
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub restarts: usize,
    /// Guess up to N digits, depth first, while a puzzle is unsolved
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub guesses: usize,
}

impl BudgetArgs {
    /// The budget, as trained where nothing is said.
    pub fn budget(&self, config: &TrmConfig) -> Budget {
        let trained = Budget::trained(config);
        let steps = self.max_steps.map_or(trained.steps, |steps| steps as usize);
        Budget { steps, restarts: self.restarts, guesses: self.guesses, ..trained }
    }
}

impl ModelArgs {
    /// What to call the model in a heading.
    pub fn name(&self) -> String {
        self.model.display().to_string()
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(Model, Threads), CliError> {
        if !self.model.exists() && self.model == Path::new(DEFAULT_MODEL) {
            return Err(CliError::Input(format!(
                "there is no model at {DEFAULT_MODEL} yet; train one with `trm train --preset quick`, \
                 or name one with --model FILE"
            )));
        }
        let checkpoint = Checkpoint::read(&self.model).map_err(|e| CliError::Input(e.to_string()))?;
        let threads = Threads::new(self.threads);
        let params = Params::from_state_dict(&checkpoint.config, &checkpoint.model);
        Ok((Model::new(checkpoint.config, params, &threads), threads))
    }
}
