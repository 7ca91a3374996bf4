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
use trm::checkpoint::ModelFile;
use trm::config::TrmConfig;
use trm::model::{Budget, Model, Params, paper};
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

    /// The segments of the paper's model, whose first states are not random.
    pub fn segments(&self, config: &paper::Config) -> Result<usize, CliError> {
        if self.restarts > 0 {
            return Err(CliError::Input("--restarts: the paper's model starts every time the same".into()));
        }
        Ok(self.max_steps.map_or(config.halt_max_steps, |steps| (steps as usize).div_ceil(config.h_cycles)))
    }
}

/// A model of either kind, ready to run.
pub enum AnyModel {
    /// One of this project or of the Python original.
    Trm(Box<Model>),
    /// One of the paper.
    Paper(Box<paper::Model>),
}

impl ModelArgs {
    /// What to call the model in a heading.
    pub fn name(&self) -> String {
        self.model.display().to_string()
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(AnyModel, Threads), CliError> {
        if !self.model.exists() && self.model == Path::new(DEFAULT_MODEL) {
            return Err(CliError::Input(format!(
                "there is no model at {DEFAULT_MODEL} yet; train one with `trm train --preset quick`, \
                 or name one with --model FILE"
            )));
        }
        let threads = Threads::new(self.threads);
        let model = match ModelFile::read(&self.model).map_err(|e| CliError::Input(e.to_string()))? {
            ModelFile::Trm(checkpoint) => {
                let params = Params::from_state_dict(&checkpoint.config, &checkpoint.model);
                AnyModel::Trm(Box::new(Model::new(checkpoint.config, params, &threads)))
            }
            ModelFile::Paper(checkpoint) => {
                let params = checkpoint.params();
                AnyModel::Paper(Box::new(paper::Model::new(checkpoint.config, params, &threads)))
            }
        };
        Ok((model, threads))
    }
}
