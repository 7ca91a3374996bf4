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
mod puzzles;
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
    /// What a model file of another program does not tell, as in H_cycles=4
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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

    /// The segments of the paper's model, whose first states are not random.
    pub fn segments(&self, config: &paper::Config) -> Result<usize, CliError> {
        if self.restarts > 0 || self.guesses.is_some_and(|guesses| guesses > 0) {
            return Err(CliError::Input(
                "--restarts, --guesses: the paper's model starts every time the same, and does not guess"
                    .into(),
            ));
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
        self.model.as_ref().map_or("the model that comes with trm".into(), |file| file.display().to_string())
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(AnyModel, Threads), CliError> {
        let threads = Threads::new(self.threads);
        let model = match read_model(self.model.as_deref(), &self.set)? {
            ModelFile::Trm(checkpoint) => AnyModel::Trm(Box::new(checkpoint.into_model(&threads))),
            ModelFile::Quantised(checkpoint) => AnyModel::Trm(Box::new(checkpoint.into_model(&threads))),
            ModelFile::Paper(checkpoint) => AnyModel::Paper(Box::new(checkpoint.into_model(&threads))),
        };
        Ok((model, threads))
    }
}

/// The model of a file, told what the file does not tell, or the one that comes with the program. Settings that are only
/// assumed are named on standard error.
pub fn read_model(file: Option<&Path>, settings: &[String]) -> Result<ModelFile, CliError> {
    let (model, assumed) = read_noting(file, settings)?;
    if let Some(file) = file
        && !assumed.is_empty()
    {
        crate::output::tell(&assumption(file, &assumed));
    }
    Ok(model)
}

/// As [`read_model`], with the settings that are assumed.
fn read_noting(file: Option<&Path>, settings: &[String]) -> Result<(ModelFile, Vec<String>), CliError> {
    match file {
        Some(file) => ModelFile::read_noting(file, settings).map_err(|e| CliError::Input(e.to_string())),
        None if !settings.is_empty() => {
            Err(CliError::Input("--set says what a model file does not tell: name the file".into()))
        }
        None => Ok((ModelFile::Trm(Box::new(Checkpoint::shipped())), Vec::new())),
    }
}

/// What is assumed of a model, and how to say it.
fn assumption(file: &Path, assumed: &[String]) -> String {
    format!(
        "{} does not tell {}: assumed as published; --set, or the all_config.yaml of the official program beside it, tells them",
        file.display(),
        assumed.join(", ")
    )
}
