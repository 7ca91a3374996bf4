//! One file for each subcommand; what they share is here.

pub mod bench;
pub mod compare;
pub mod completions;
pub mod compress;
pub mod convert;
pub mod data;
pub mod eval;
pub mod info;
mod progress;
pub mod solve;
pub mod train;

use crate::error::CliError;
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, ModelFile};
use trm::config::NetworkConfig;
use trm::model::{Budget, Model, paper};
use trm::parallel::Threads;

/// The options of every command that runs a trained model.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// Model file: .pt or .safetensors [default: the model that comes with the program]
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<PathBuf>,
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
    /// Guess up to N digits, depth first, while a puzzle is unsolved [default: 10000 for the model that comes with the
    /// program in trm solve, else 0]
    #[arg(long, value_name = "N")]
    pub guesses: Option<usize>,
}

impl BudgetArgs {
    /// The budget: as trained where nothing is said, with `guesses` unless another number is wished.
    pub fn budget(&self, config: &NetworkConfig, guesses: usize) -> Budget {
        let trained = Budget::trained(config);
        let steps = self.max_steps.map_or(trained.steps, |steps| steps as usize);
        Budget { steps, restarts: self.restarts, guesses: self.guesses.unwrap_or(guesses), ..trained }
    }

    /// The budget of the paper's model, in whole segments. Its first states are not random.
    pub fn paper_budget(&self, config: &paper::Config) -> Result<Budget, CliError> {
        if self.restarts > 0 {
            return Err(CliError::Input("--restarts: the paper's model starts every time the same".into()));
        }
        let official = config.budget();
        let steps = self.max_steps.map_or(official.steps, |n| (n as usize).next_multiple_of(config.h_cycles));
        Ok(Budget { steps, guesses: self.guesses.unwrap_or(0), ..official })
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
        self.model.as_ref().map_or("the model that comes with trm".into(), |file| file.display().to_string())
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(AnyModel, Threads), CliError> {
        let threads = Threads::new(self.threads);
        let model = match read_model(self.model.as_deref())? {
            ModelFile::Trm(checkpoint) => AnyModel::Trm(Box::new(checkpoint.into_model(&threads))),
            ModelFile::Quantised(checkpoint) => AnyModel::Trm(Box::new(checkpoint.into_model(&threads))),
            ModelFile::Paper(checkpoint) => AnyModel::Paper(Box::new(checkpoint.into_model(&threads))),
        };
        Ok((model, threads))
    }
}

/// The model of a file, or the one that comes with the program.
pub fn read_model(file: Option<&Path>) -> Result<ModelFile, CliError> {
    match file {
        Some(file) => ModelFile::read(file).map_err(|e| CliError::Input(e.to_string())),
        None => Ok(ModelFile::Trm(Box::new(Checkpoint::shipped()))),
    }
}
