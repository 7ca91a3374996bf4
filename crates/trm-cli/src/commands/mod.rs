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
use trm::model::{Budget, Thinker};
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
    pub fn budget(&self, model: &dyn Thinker, guesses: usize) -> Result<Budget, CliError> {
        if self.restarts > 0 && !model.starts_at_random() {
            return Err(CliError::Input(
                "--restarts: this model starts every time the same, so that a restart would change nothing"
                    .into(),
            ));
        }
        let trained = model.trained_budget();
        let wished = self.max_steps.map_or(trained.steps, |steps| steps as usize);
        let steps = wished.next_multiple_of(model.cycles_at_once());
        let guesses = self.guesses.unwrap_or(guesses);
        Ok(Budget { steps, restarts: self.restarts, guesses, ..trained })
    }
}

impl ModelArgs {
    /// Name of the model for headings.
    pub fn name(&self) -> String {
        self.model.as_ref().map_or("the model that comes with trm".into(), |file| file.display().to_string())
    }

    /// Reads the model.
    pub fn load(&self) -> Result<(Box<dyn Thinker>, Threads), CliError> {
        let threads = Threads::new(self.threads);
        Ok((read_model(self.model.as_deref(), &self.set)?.into_thinker(&threads), threads))
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
