//! A model file of whichever kind.

use super::{Checkpoint, CheckpointError, PaperCheckpoint, QuantisedCheckpoint, is_safetensors, safetensors};
use crate::model::Thinker;
use crate::parallel::Threads;
use std::path::Path;

/// The content of a model file, by the kind of model that the file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelFile {
    /// A model of this project or of the Python original.
    Trm(Box<Checkpoint>),
    /// A model of this project whose weights are quantised to whole numbers.
    Quantised(Box<QuantisedCheckpoint>),
    /// A model of the paper.
    Paper(Box<PaperCheckpoint>),
}

impl ModelFile {
    /// Reads a model file: `.safetensors` by the ending of the name, anything else as PyTorch's format. The names of
    /// the tensors tell which kind of model the file holds.
    ///
    /// # Errors
    /// An unreadable or broken file, or tensors that do not fit the configuration: see [`CheckpointError`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::read_with(path, &[])
    }

    /// Reads a model file, with `settings`, each `key=value`, for what an official file of the paper's model does not
    /// say.
    ///
    /// # Errors
    /// A file that [`Self::read`] refuses, or settings for a file of another kind: such a file holds all of its
    /// settings.
    pub fn read_with(path: &Path, settings: &[String]) -> Result<Self, CheckpointError> {
        match PaperCheckpoint::of_file(path, settings)? {
            Some(paper) => Ok(Self::Paper(Box::new(paper))),
            None if !settings.is_empty() => {
                let reason =
                    "it is no model of the paper: its settings stand in the file and cannot be changed";
                Err(CheckpointError::Format { path: path.to_path_buf(), reason: reason.into() })
            }
            None => match Self::read_quantised(path)? {
                Some(quantised) => Ok(Self::Quantised(Box::new(quantised))),
                None => Checkpoint::read(path).map(|checkpoint| Self::Trm(Box::new(checkpoint))),
            },
        }
    }

    fn read_quantised(path: &Path) -> Result<Option<QuantisedCheckpoint>, CheckpointError> {
        if !is_safetensors(path) {
            return Ok(None);
        }
        safetensors::read_quantised(path).map_err(|e| e.at(path))
    }

    /// The model, ready to answer puzzles.
    pub fn into_thinker(self, threads: &Threads) -> Box<dyn Thinker> {
        match self {
            Self::Trm(checkpoint) => Box::new(checkpoint.into_model(threads)),
            Self::Quantised(checkpoint) => Box::new(checkpoint.into_model(threads)),
            Self::Paper(checkpoint) => Box::new(checkpoint.into_model(threads)),
        }
    }

    /// Writes a file; `.safetensors` by its ending, anything else as PyTorch's format.
    ///
    /// # Errors
    /// What the system says, and settings that the format has no place for.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        match self {
            Self::Trm(checkpoint) => checkpoint.write(path),
            Self::Quantised(quantised) => quantised.write(path),
            Self::Paper(paper) => paper.write(path),
        }
    }
}
