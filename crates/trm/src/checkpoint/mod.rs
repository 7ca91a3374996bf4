//! Model files: `.pt` as PyTorch reads and writes them, and `.safetensors`. Reading never executes anything.

mod compact;
mod foreign;
mod model_file;
mod paper;
mod pickle;
mod pickle_writer;
mod quantised;
mod safetensors;
mod torch;
mod torch_legacy;
mod torch_zip;

pub use model_file::ModelFile;
pub use paper::PaperCheckpoint;
pub use quantised::QuantisedCheckpoint;

use crate::config::TrmConfig;
use crate::model::{Model, Network};
use crate::network::{Entry, Layout, Weights};
use crate::parallel::Threads;
use crate::tensor::StateDict;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of what we store under a key of our own.
const FORMAT_VERSION: i64 = 1;

/// The file of the model that comes with this library: weights/README.md says what it was trained on and what it can do.
pub const SHIPPED: &[u8] = include_bytes!("../../weights/sudoku.safetensors");

/// The content of a model file. A production file holds the model and its configuration only.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<S = TrmConfig> {
    /// Weights by name, with the names and shapes of [`Stored::layout`].
    pub model: StateDict,
    /// The settings that the weights were trained with.
    pub config: S,
    /// AdamW's state.
    pub optimizer: Option<OptimizerState>,
    /// Losses and accuracies, one for each epoch.
    pub history: Option<Losses>,
    /// The state of the run, which resuming needs beyond weights and moments.
    pub training: Option<Training>,
}

/// The number that AdamW adds to the root of the second moment; PyTorch's default.
pub const ADAM_EPS: f64 = 1e-8;

/// AdamW's moments and settings.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    /// Updates made.
    pub step: u64,
    /// First moments by parameter name.
    pub exp_avg: StateDict,
    /// Second moments by parameter name.
    pub exp_avg_sq: StateDict,
    /// Last learning rate.
    pub lr: f64,
    /// Decay rates of the moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay of the matrices; 0 for all else.
    pub weight_decay: f64,
}

/// The training metrics of the documented checkpoint.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Losses {
    /// Mean training loss of each epoch.
    pub train_losses: Vec<f64>,
    /// Validation loss after each epoch.
    pub val_losses: Vec<f64>,
    /// Share of the validation cells that were right after each epoch.
    pub val_accuracies: Vec<f64>,
}

/// State of a training run, opaque here.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// The trainer's own record.
    pub state_json: String,
    /// The averaged weights, if the run keeps an average.
    pub ema: Option<StateDict>,
    /// The states of the puzzles that stay in the batch, if the kind of model has such states.
    pub carry: Option<StateDict>,
}

/// Why a model file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is no model file, or it is broken.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// The tensors of the file are not the ones that its configuration asks for.
    #[error("{}: its tensors do not fit its configuration:\n  {}", path.display(), problems.join("\n  "))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// One line for each tensor that is missing, extra, misshapen or not finite.
        problems: Vec<String>,
    },
}

/// Why settings are refused for a file of this program.
const SETTINGS_STAND_IN_IT: &str = "its settings stand in the file and cannot be changed; --set is for files of other programs, which do not tell all";

/// Reasons found while reading, before the file's name is added.
enum ReadError {
    Io(std::io::Error),
    Format(String),
    Tensors(Vec<String>),
}

impl ReadError {
    fn at(self, path: &Path) -> CheckpointError {
        let path = path.to_path_buf();
        match self {
            Self::Io(source) => CheckpointError::Io { path, source },
            Self::Format(reason) => CheckpointError::Format { path, reason },
            Self::Tensors(problems) => CheckpointError::Tensors { path, problems },
        }
    }
}

impl From<std::io::Error> for ReadError {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<String> for ReadError {
    fn from(reason: String) -> Self {
        Self::Format(reason)
    }
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"))
}

/// Settings whose checkpoints have a layout in files.
pub trait Stored: Sized {
    /// Names, shapes, roles and first values of the model's tensors.
    fn layout(&self) -> Arc<Layout>;
    /// All settings, as a file.
    fn to_toml(&self) -> String;
    /// Reads a checkpoint of this kind.
    ///
    /// # Errors
    /// An unreadable, broken or hostile file; one of another kind; tensors that do not fit the settings.
    fn read(path: &Path) -> Result<Checkpoint<Self>, CheckpointError>;
    /// Writes a checkpoint. The old file stays until the new one is complete.
    ///
    /// # Errors
    /// What the system says; content that the format has no place for.
    fn write(checkpoint: &Checkpoint<Self>, path: &Path) -> Result<(), CheckpointError>;
}

impl Stored for TrmConfig {
    fn layout(&self) -> Arc<Layout> {
        Network::layout(&self.network)
    }

    fn to_toml(&self) -> String {
        Self::to_toml(self)
    }

    fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::read(path)
    }

    fn write(checkpoint: &Checkpoint, path: &Path) -> Result<(), CheckpointError> {
        let write = if is_safetensors(path) { safetensors::write } else { torch::write };
        write(checkpoint, path).map_err(|e| ReadError::Io(e).at(path))
    }
}

impl<S: Stored> Checkpoint<S> {
    /// Reads a checkpoint with this kind of settings.
    ///
    /// # Errors
    /// An unreadable or broken file, or tensors that do not fit the settings: see [`CheckpointError`].
    pub fn read_stored(path: &Path) -> Result<Self, CheckpointError> {
        S::read(path)
    }

    /// Writes a file; `.safetensors` by its ending, anything else as PyTorch's format. The old file stays until the new one is
    /// complete.
    ///
    /// # Errors
    /// What the system says; settings that PyTorch's format of the paper's model has no place for.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        S::write(self, path)
    }

    /// The weights.
    pub fn weights(&self) -> Weights {
        Weights::from_state_dict(&self.config.layout(), self.model.clone())
    }

    /// Checks every set of tensors against the settings.
    fn check(&self) -> Result<(), Vec<String>> {
        let mut sets = vec![("", &self.model)];
        if let Some(optimizer) = &self.optimizer {
            sets.push(("optimizer exp_avg ", &optimizer.exp_avg));
            sets.push(("optimizer exp_avg_sq ", &optimizer.exp_avg_sq));
        }
        if let Some(ema) = self.training.as_ref().and_then(|t| t.ema.as_ref()) {
            sets.push(("weight average ", ema));
        }
        let layout = self.config.layout();
        let problems: Vec<String> =
            sets.into_iter().flat_map(|(set, state)| problems(set, state, &layout)).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl Checkpoint {
    /// Reads a file; `.safetensors` by its ending, anything else as PyTorch's format.
    ///
    /// # Errors
    /// An unreadable, broken or hostile file; tensors that are missing, extra, misshapen or not finite.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::read_with(path, &[])
    }

    /// Reads a file, told what a file of another program does not tell, such as `H_cycles=4`.
    ///
    /// # Errors
    /// As for [`Self::read`]; a file that leaves open how many cycles its model has; settings for a file of this program,
    /// which tells everything.
    pub fn read_with(path: &Path, settings: &[String]) -> Result<Self, CheckpointError> {
        let read = if is_safetensors(path) { safetensors::read } else { torch::read };
        let checkpoint = read(path, settings).map_err(|e| e.at(path))?;
        checkpoint.check().map_err(|problems| ReadError::Tensors(problems).at(path))?;
        Ok(checkpoint)
    }

    /// The model that comes with this library.
    pub fn shipped() -> Self {
        let checkpoint = safetensors::read_bytes(SHIPPED, &[]).ok().filter(|c| c.check().is_ok());
        checkpoint.expect("a test reads the file that is compiled in")
    }

    /// The model, ready to solve.
    pub fn into_model(self, threads: &Threads) -> Model {
        let Self { mut config, model, .. } = self;
        config.network.precision = config.network.precision.of_inference();
        let weights = Weights::from_state_dict(&Network::layout(&config.network), model);
        Model::new(config.network, weights, threads)
    }
}

/// What is missing, extra, misshapen or not finite in a state dict.
fn problems(set: &str, state: &StateDict, expected: &Layout) -> Vec<String> {
    let mut problems = Vec::new();
    for Entry { name, shape, .. } in expected.entries() {
        let found: Vec<_> = state.iter().filter(|(n, _)| n == name).collect();
        match found[..] {
            [] => problems.push(format!("{set}{name} is missing; its shape should be {shape:?}")),
            [(_, tensor)] if tensor.shape.is_empty() && name.ends_with("_gate") => problems.push(format!(
                "{set}{name} has shape []: this is a file of a later revision of the Python original, whose gates go \
                 through a sigmoid, whose states start at x_emb and whose loops differ. Its weights mean something \
                 else in these equations, so they are not converted."
            )),
            [(_, tensor)] if tensor.shape != *shape => {
                problems.push(format!("{set}{name} has shape {:?}; it should be {shape:?}", tensor.shape));
            }
            [(_, tensor)] => {
                // All of a piece are looked at, which is many at once.
                let is_finite = |values: &[f32]| values.iter().fold(true, |all, v| all & v.is_finite());
                if !tensor.data.chunks(1 << 12).all(is_finite)
                    && let Some(at) = tensor.data.iter().position(|v| !v.is_finite())
                {
                    problems.push(format!("{set}{name} holds {} at position {at}", tensor.data[at]));
                }
            }
            _ => problems.push(format!("{set}{name} stands more than once")),
        }
    }
    let known: std::collections::HashSet<&String> =
        expected.entries().iter().map(|entry| &entry.name).collect();
    let extra = state.iter().filter(|(name, _)| !known.contains(name));
    problems.extend(
        extra.map(|(name, tensor)| format!("{set}{name} {:?} is not part of the model", tensor.shape)),
    );
    problems
}
