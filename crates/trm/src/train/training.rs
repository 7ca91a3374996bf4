//! Training in ten lines: settings by name or file, the puzzles, and the run in its folder.

use super::{
    Claim, Ending, Kind, LoadError, LoadNote, Observer, RunFolder, Settings, TrainError, Trainer,
    TrainingData, run,
};
use crate::config::{ConfigError, ConfigLayers, ModelKind, Preset, TrmConfig};
use crate::model::{Model, paper};
use crate::parallel::Threads;
use std::path::Path;

/// A training run that is yet to begin.
///
/// ```no_run
/// use trm::train::{Silent, Training};
///
/// let training = Training::preset("minute")?.set("epochs=2")?.data("data/kaggle-15k.csv");
/// let ending = training.run("runs/minute", &mut Silent)?;
/// println!("{ending:?}");
/// # Ok::<(), trm::train::TrainingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Training {
    settings: AnySettings,
    data: Option<String>,
    threads: usize,
    overwrite: bool,
}

#[derive(Clone, Debug)]
enum AnySettings {
    Documented(ConfigLayers),
    Paper(Box<paper::Settings>),
}

/// Why a run could not be prepared, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// There is no preset of this name.
    #[error("there is no preset {0}; there are: {names}", names = preset_names())]
    UnknownPreset(String),
    /// A setting is unknown or out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting of the paper's model is unknown or out of range.
    #[error(transparent)]
    PaperConfig(#[from] paper::ConfigError),
    /// The puzzles could not be had.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The run did not start, or did not end well.
    #[error(transparent)]
    Train(#[from] TrainError),
}

fn preset_names() -> String {
    let names: Vec<&str> = crate::config::PRESETS.iter().map(|preset| preset.name).collect();
    names.join(", ")
}

/// An observer that shows nothing and never stops a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: super::Standing<'_>, _: &super::StepReport) {}

    fn round(&mut self, _: super::Standing<'_>, _: &super::history::Record) {}

    fn wants_to_stop(&self) -> bool {
        false
    }
}

impl Training {
    /// The preset called `name`; [`crate::config::PRESETS`] lists all of them.
    ///
    /// # Errors
    /// [`TrainingError::UnknownPreset`].
    pub fn preset(name: &str) -> Result<Self, TrainingError> {
        let preset = Preset::named(name).ok_or_else(|| TrainingError::UnknownPreset(name.into()))?;
        let settings = match preset.kind {
            ModelKind::Documented => {
                AnySettings::Documented(ConfigLayers::default().toml(preset.toml, preset.name)?)
            }
            ModelKind::Paper => AnySettings::Paper(Box::new(paper::Settings::from_toml(preset.toml, &[])?)),
        };
        Ok(Self { settings, data: None, threads: 0, overwrite: false })
    }

    /// The documented model with the documented settings.
    pub fn documented() -> Self {
        let settings = AnySettings::Documented(ConfigLayers::default());
        Self { settings, data: None, threads: 0, overwrite: false }
    }

    /// Changes one setting, as `key=value`.
    ///
    /// # Errors
    /// A text of another form, an unknown key, or a value of another type; ranges are checked when the run begins.
    pub fn set(mut self, assignment: &str) -> Result<Self, TrainingError> {
        self.settings = match self.settings {
            AnySettings::Documented(layers) => AnySettings::Documented(layers.set(assignment)?),
            AnySettings::Paper(settings) => {
                let changed = paper::Settings::from_toml(&settings.to_toml(), &[assignment.to_string()])?;
                AnySettings::Paper(Box::new(changed))
            }
        };
        Ok(self)
    }

    /// Trains on the puzzles of the CSV file at `path`, which has the columns `quizzes,solutions`, instead of the
    /// puzzles of the preset.
    #[must_use]
    pub fn data(self, path: impl AsRef<Path>) -> Self {
        Self { data: Some(path.as_ref().display().to_string()), ..self }
    }

    /// Sets the number of worker threads; 0 means one on each CPU. The weights do not depend on it.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Lets the run replace the files of an earlier run in its folder.
    #[must_use]
    pub fn overwrite(self) -> Self {
        Self { overwrite: true, ..self }
    }

    /// Trains to the end in the run folder at `path`, which holds checkpoints, history and settings; `observer` is told of every step
    /// and every round, and may stop the run with everything saved.
    ///
    /// # Errors
    /// Settings out of range, puzzles that cannot be had, a folder that another run has, divergence, a file that cannot be written.
    pub fn run(self, path: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Ending, TrainingError> {
        let claim = if self.overwrite { Claim::Overwrite } else { Claim::New };
        let (threads, path) = (Threads::new(self.threads), path.as_ref());
        match self.settings {
            AnySettings::Documented(layers) => {
                let mut settings: TrmConfig = layers.build()?;
                if let Some(data) = self.data {
                    (settings.data.data, settings.data.generate_samples) = (data, 0);
                }
                run_anew::<Model>(settings, (path, claim), threads, observer)
            }
            AnySettings::Paper(mut settings) => {
                if let Some(data) = self.data {
                    (settings.training.data, settings.training.generate_samples) = (data, 0);
                }
                run_anew::<paper::Model>(*settings, (path, claim), threads, observer)
            }
        }
    }
}

fn run_anew<K: Kind>(
    settings: K::Settings,
    (path, claim): (&Path, Claim),
    threads: Threads,
    observer: &mut dyn Observer,
) -> Result<Ending, TrainingError> {
    let folder = RunFolder::claim(path, K::FOLDER, claim)?;
    let regime = settings.regime();
    let data = TrainingData::load(&regime.data, regime.seed, false, &threads, &mut |_: LoadNote| {})?;
    let mut trainer = Trainer::<K>::new(settings, data, threads)?;
    Ok(run(&mut trainer, &folder, observer)?)
}
