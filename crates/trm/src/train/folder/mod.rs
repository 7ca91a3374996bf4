//! The folder of a training run: claimed once, by one run at a time, of whichever kind.

mod lock;

use super::TrainError;
use crate::atomic_file::is_unfinished;
use lock::{LOCK, lock};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The record of a run's validations, one JSON object a line.
pub const HISTORY: &str = "history.jsonl";
/// The settings of a run.
pub const CONFIG: &str = "config.toml";
/// The evaluation of the held-out rows, by the best weights.
pub const HOLDOUT: &str = "holdout.json";
/// The checkpoint of a model of the documented family that was best in validation.
const BEST: &str = "trm_sudoku_best.pt";
/// The picture of the history, in two formats.
const PICTURES: [&str; 2] = ["training_history.png", "training_history.svg"];

/// The kinds of runs, by the network that is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// A model of the documented family.
    Documented,
    /// The paper's model.
    Paper,
}

impl RunKind {
    const ALL: [Self; 2] = [Self::Documented, Self::Paper];

    /// File names of the newest checkpoint, which `--resume` goes on from, of the model for production, and of what else a run
    /// of this kind keeps of its weights.
    fn checkpoints(self) -> &'static [&'static str] {
        match self {
            Self::Documented => &["trm_sudoku_last.pt", "trm_sudoku_production.pt", BEST],
            // Its best weights are those for production.
            Self::Paper => &["trm_paper_last.safetensors", "trm_paper_production.safetensors"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Documented => "a model of the documented family",
            Self::Paper => "the paper's model",
        }
    }

    /// The kind of run that `settings` describe. Only the settings of a run of the paper's model stand in tables.
    pub fn of_settings(settings: &toml::Table) -> Self {
        let is_paper = ["model", "training"].iter().any(|table| settings.contains_key(*table));
        if is_paper { Self::Paper } else { Self::Documented }
    }
}

/// The ways to claim a run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A folder without files of an earlier run.
    New,
    /// The files of an earlier run, of either kind, go when this one begins.
    Overwrite,
    /// An earlier run in the folder goes on.
    Resume,
}

/// Why a run cannot have a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another run is going on in the folder.
    #[error(
        "{}: another run is going on in this folder{holder}. Wait for its end, stop it, or choose another folder with --run",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds the folder's lock, as text; empty if it is not known.
        holder: String,
    },
    /// The folder holds files of an earlier run.
    #[error(
        "{} holds a run already ({file}, of {}); go on with it by --resume, replace it by --overwrite, or choose another folder \
         with --run",
        folder.display(),
        kind.map_or("either kind", RunKind::name)
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The first file of the earlier run.
        file: String,
        /// The kind of the earlier run, if that file tells.
        kind: Option<RunKind>,
    },
    /// The folder holds no run that could go on.
    #[error("there is no run to resume: {} does not exist", path.display())]
    NoRun {
        /// The newest checkpoint, which is missing.
        path: PathBuf,
    },
    /// The run in the folder is of another kind than the one to be resumed.
    #[error("{} holds a run of {}, not of {}; resume it as such, or choose another folder with --run", folder.display(), found.name(), wanted.name())]
    OtherKind {
        /// The folder.
        folder: PathBuf,
        /// The kind of the run in the folder.
        found: RunKind,
        /// The kind that was to be resumed.
        wanted: RunKind,
    },
    /// The folder holds files of runs of both kinds.
    #[error(
        "{} holds files of two runs, of different kinds: {documented} and {paper}. Move those that should not go on into another \
         folder, then resume; or start anew by --overwrite",
        folder.display()
    )]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// A file of a model of the documented family.
        documented: String,
        /// A file of the paper's model.
        paper: String,
    },
}

/// The folder of a run, which no other run can have until this is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    kind: RunKind,
    claim: Claim,
    /// Locked. Nothing where the file system has no locks.
    _lock: Option<File>,
    /// Whether the folder was made for this run.
    is_new: bool,
}

impl RunFolder {
    /// Claims the folder at `path`, which is made if it is missing, for one run. Nothing in it is changed before
    /// the run begins.
    ///
    /// # Errors
    /// The folder cannot be made or written to, another run is going on in it, or what is in it does not fit the claim:
    /// see [`FolderError`].
    pub fn claim(path: &Path, kind: RunKind, claim: Claim) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { path: path.to_path_buf(), source };
        if claim == Claim::Resume && !path.is_dir() {
            return Err(FolderError::NoRun { path: path.join(kind.checkpoints()[0]) }.into());
        }
        let is_new = !path.exists();
        std::fs::create_dir_all(path).map_err(io)?;
        tempfile::tempfile_in(path).map_err(io)?;
        let lock = lock(path)?;
        let folder = Self { path: path.to_path_buf(), kind, claim, _lock: lock, is_new };
        match claim {
            Claim::New => folder.refuse_earlier_files()?,
            Claim::Overwrite => {}
            Claim::Resume => {
                let found = Self::kind_in(path)?;
                if found != kind {
                    return Err(FolderError::OtherKind { folder: path.into(), found, wanted: kind }.into());
                }
            }
        }
        Ok(folder)
    }

    /// The kind of the run in the folder at `path`, which `--resume` goes on with.
    ///
    /// # Errors
    /// There is no run to go on with, or there are files of both kinds.
    pub fn kind_in(path: &Path) -> Result<RunKind, FolderError> {
        let settings: Option<toml::Table> =
            std::fs::read_to_string(path.join(CONFIG)).ok().and_then(|text| text.parse().ok());
        let configured = settings.as_ref().map(RunKind::of_settings);
        let evidence = |kind: RunKind| {
            let checkpoint = kind.checkpoints().iter().copied().find(|name| path.join(name).exists());
            checkpoint.or((configured == Some(kind)).then_some(CONFIG))
        };
        match RunKind::ALL.map(evidence) {
            [Some(documented), Some(paper)] => Err(FolderError::Ambiguous {
                folder: path.into(),
                documented: documented.into(),
                paper: paper.into(),
            }),
            [documented, paper] => {
                let kind = if paper.is_some() { RunKind::Paper } else { RunKind::Documented };
                let last = path.join(kind.checkpoints()[0]);
                let is_there = (documented.or(paper)).is_some() && last.exists();
                if is_there { Ok(kind) } else { Err(FolderError::NoRun { path: last }) }
            }
        }
    }

    fn refuse_earlier_files(&self) -> Result<(), FolderError> {
        let Some(file) = earlier_files(&self.path).into_iter().next() else { return Ok(()) };
        let kind = RunKind::ALL.into_iter().find(|kind| kind.checkpoints().contains(&file.as_str()));
        Err(FolderError::Taken { folder: self.path.clone(), file, kind })
    }

    /// Clears what the claim allows to clear, when all else is ready: the files of the earlier run if it is overwritten, and
    /// what a killed run left half-written. Files that no run makes stay.
    ///
    /// # Errors
    /// A file cannot be removed, or the folder was claimed for a run of another kind than `kind`.
    pub(super) fn begin(&self, kind: RunKind) -> Result<(), TrainError> {
        if kind != self.kind {
            return Err(
                FolderError::OtherKind { folder: self.path.clone(), found: self.kind, wanted: kind }.into()
            );
        }
        for name in earlier_files(&self.path) {
            if self.claim == Claim::Overwrite || is_unfinished(&name) {
                let path = self.path.join(&name);
                std::fs::remove_file(&path).map_err(|source| TrainError::Io { path, source })?;
            }
        }
        Ok(())
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The newest checkpoint: what `--resume` goes on from.
    pub fn last(&self) -> PathBuf {
        self.file(self.kind.checkpoints()[0])
    }

    /// Path of the file with the best weights and their configuration, and nothing else.
    pub fn production(&self) -> PathBuf {
        self.file(self.kind.checkpoints()[1])
    }

    /// The checkpoint that was best in validation, where this kind of run keeps one.
    pub fn best(&self) -> Option<PathBuf> {
        (self.kind == RunKind::Documented).then(|| self.file(BEST))
    }

    /// The picture of the history, as PNG and as SVG.
    pub fn pictures(&self) -> [PathBuf; 2] {
        PICTURES.map(|name| self.file(name))
    }

    /// Writes a text file of the folder, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn save_text(&self, name: &str, text: &str) -> Result<(), TrainError> {
        let path = self.file(name);
        crate::atomic_file::write_atomically(&path, |file| file.write_all(text.as_bytes()))
            .map_err(|source| TrainError::Io { path, source })
    }
}

impl Drop for RunFolder {
    /// Leaves nothing where nothing was begun: a folder that was made for a run and has only its lock goes again.
    fn drop(&mut self) {
        let has_only_the_lock = |path: &Path| {
            let names = std::fs::read_dir(path).ok().map(|entries| entries.flatten().map(|e| e.file_name()));
            names.is_some_and(|mut names| names.all(|name| name == LOCK))
        };
        if self.is_new && has_only_the_lock(&self.path) {
            let _ = std::fs::remove_file(self.path.join(LOCK));
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Names of the files in a folder that runs make, but for the lock.
fn earlier_files(folder: &Path) -> Vec<String> {
    let checkpoints = RunKind::ALL.into_iter().flat_map(RunKind::checkpoints);
    let known: Vec<&str> = checkpoints.copied().chain([CONFIG, HISTORY, HOLDOUT]).chain(PICTURES).collect();
    let here = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let temporary =
        here.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_unfinished(name));
    let known = known.into_iter().filter(|name| folder.join(name).is_file()).map(str::to_string);
    known.chain(temporary).collect()
}
