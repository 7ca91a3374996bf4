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
use trm::model::{Model, Params};
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

impl ModelArgs {
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
