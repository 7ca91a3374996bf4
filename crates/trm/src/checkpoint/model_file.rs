//! A model file of whichever kind.

use super::{
    Checkpoint, CheckpointError, PaperCheckpoint, QuantisedCheckpoint, SETTINGS_STAND_IN_IT, is_safetensors,
    safetensors,
};
use crate::model::Thinker;
use crate::parallel::Threads;
use std::path::Path;

/// What a model file turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelFile {
    /// A model of this project or of the Python original.
    Trm(Box<Checkpoint>),
    /// One of this project whose weights are whole numbers.
    Quantised(Box<QuantisedCheckpoint>),
    /// A model of the paper.
    Paper(Box<PaperCheckpoint>),
}

impl ModelFile {
    /// Reads a file; `.safetensors` by its ending, anything else as PyTorch's format. The names of its tensors tell what
    /// it is.
    ///
    /// # Errors
    /// As for [`Checkpoint::read`].
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        Self::read_with(path, &[])
    }

    /// Reads a file, told what a file of another program does not tell, as `key=value`.
    ///
    /// # Errors
    /// As for [`Self::read`]; a file that leaves open how many cycles its model has; settings for a file of this program,
    /// which tells everything.
    pub fn read_with(path: &Path, settings: &[String]) -> Result<Self, CheckpointError> {
        Self::read_noting(path, settings).map(|(file, _)| file)
    }

    /// Reads a file as [`Self::read_with`] does; with each setting, as `key=value`, that nothing tells and that is taken
    /// to be the published one.
    ///
    /// # Errors
    /// As for [`Self::read_with`].
    pub fn read_noting(path: &Path, settings: &[String]) -> Result<(Self, Vec<String>), CheckpointError> {
        if let Some((paper, assumed)) = PaperCheckpoint::of_file(path, settings)? {
            return Ok((Self::Paper(Box::new(paper)), assumed));
        }
        let file = match Self::read_quantised(path)? {
            Some(_) if !settings.is_empty() => {
                let reason = SETTINGS_STAND_IN_IT.into();
                return Err(CheckpointError::Format { path: path.to_path_buf(), reason });
            }
            Some(quantised) => Self::Quantised(Box::new(quantised)),
            None => Self::Trm(Box::new(Checkpoint::read_with(path, settings)?)),
        };
        Ok((file, Vec::new()))
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
