//! `trm train`

mod documented;
mod help;
mod paper_model;
mod picture;
mod plan;

use super::progress::{Display, Progress};
use super::solve::answer_grid;
use super::{assumption, eval};
use crate::error::CliError;
use crate::output::{duration, percent, print, print_json, tell};
use crate::signals::stop_on_ctrl_c;
pub use picture::Picture;
use plan::{available_memory, load_data};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, CheckpointError, ModelFile};
use trm::config::{PRESETS, Preset, Pruning};
use trm::evaluate::Evaluation;
use trm::model::{Model, paper};
use trm::network::Weights;
use trm::parallel::Threads;
use trm::solve::{Givens, solve};
use trm::sudoku::Grid;
use trm::train::{
    Claim, Ending, Kind, RunFolder, RunKind, Settings, TrainError, Trainer, TrainingData, run as run_training,
};

/// Options of `trm train`.
#[derive(clap::Args)]
#[command(after_help = help::after_options())]
pub struct TrainArgs {
    #[arg(long, value_name = "NAME", help = help::presets())]
    preset: Option<String>,
    /// TOML file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File of puzzles with solutions, as CSV or JSON, plain or in .gz or .zip, in place of the preset's data and
    /// generated puzzles
    #[arg(short, long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Single settings, as in hidden_dim=256
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    set: Vec<String>,
    /// Start from the weights of this model instead of random ones, and from its settings instead of the documented ones
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Clear weights gradually over the first three quarters of the run: unstructured, 2:4 or structured
    #[arg(long, value_name = "KIND")]
    prune: Option<Pruning>,
    /// Share of the weights, or units, that --prune clears [default: 0.5]
    #[arg(long, value_name = "S", requires = "prune")]
    sparsity: Option<f64>,
    /// Folder for checkpoints, history and pictures
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    run: PathBuf,
    /// Go on with the run in the folder, from its last checkpoint, with its settings
    #[arg(long, conflicts_with_all = ["preset", "config", "data", "set", "init", "prune", "overwrite"])]
    resume: bool,
    /// Start anew in a folder that holds a run already
    #[arg(long)]
    overwrite: bool,
    /// Leave out rows that are no puzzle, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    /// Worker threads; 0 for one on each CPU. Results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// One JSON object a line on standard output: the plan, every epoch, the end
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

/// Trains, evaluates, and solves one puzzle.
pub fn run(args: TrainArgs) -> Result<(), CliError> {
    match args.kind()? {
        RunKind::Documented => train::<Model>(&args),
        RunKind::Paper => train::<paper::Model>(&args),
    }
}

/// What a run of one kind is made from, and what is said of it.
trait Told: Settings {
    /// The settings that the options ask for, on top of those of a model to start from.
    fn of_args(args: &TrainArgs, start: Option<&Self>) -> Result<Self, CliError>;
    /// What is about to happen and what it will take, for a person.
    fn announcement(&self, run: &Plan) -> String;
    /// The plan for machines.
    fn plan(&self, run: &Plan) -> Value;
}

/// A run before it starts.
struct Plan<'a> {
    data: &'a TrainingData,
    threads: usize,
    folder: &'a Path,
}

fn train<K: Kind<Settings: Told>>(args: &TrainArgs) -> Result<(), CliError> {
    let folder = RunFolder::claim(&args.run, K::FOLDER, args.claim()).map_err(train_error)?;
    let resumed: Option<Checkpoint<K::Settings>> =
        args.resume.then(|| read_checkpoint(&folder.last(), "")).transpose()?;
    let start: Option<Checkpoint<K::Settings>> =
        args.init.as_deref().map(|path| read_checkpoint(path, "--init ")).transpose()?;
    let settings = match &resumed {
        Some(checkpoint) => checkpoint.config.clone(),
        None => K::Settings::of_args(args, start.as_ref().map(|start| &start.config))?,
    };
    let start = start.map(|start| weights_for(&settings, &start)).transpose()?;
    let display = Display::choose(args.quiet, args.json);
    let threads = Threads::new(args.threads);
    let regime = settings.regime();
    let data = load_data(&regime.data, regime.seed, args.skip_bad_rows, &threads, display)?;
    let plan = Plan { data: &data, threads: threads.count(), folder: &args.run };
    match display {
        Display::Json => print_json(&settings.plan(&plan)).map_err(before_the_run)?,
        _ => display.say(&settings.announcement(&plan)),
    }
    settings.memory_need(threads.count()).check(available_memory()).map_err(train_error)?;
    let mut trainer: Trainer<K> = match (&resumed, start) {
        (Some(checkpoint), _) => Trainer::resume(checkpoint, data, threads),
        (None, Some(weights)) => Trainer::from_weights(settings, weights, data, threads),
        (None, None) => Trainer::new(settings, data, threads),
    }
    .map_err(train_error)?;
    drop(resumed);
    let mut progress = Progress::new(display, stop_on_ctrl_c(args.quiet), Picture::new(&folder));
    let ending = run_training(&mut trainer, &folder, &mut progress);
    progress.finish();
    let ending = ending.map_err(train_error)?;
    progress.draw(&trainer.progress().history)?;
    match ending {
        Ending::Stopped => {
            progress.output.check()?;
            display.say(&format!(
                "stopped; everything is saved. Go on with: trm train --resume --run {}",
                args.run.display()
            ));
            Err(CliError::Interrupted)
        }
        Ending::Finished { early, holdout } => conclude(&trainer, &folder, early, holdout.as_ref(), display),
    }
}

impl TrainArgs {
    /// What is trained: what the run in the folder does, or what the settings are of.
    fn kind(&self) -> Result<RunKind, CliError> {
        if self.resume {
            return RunFolder::kind_in(&self.run).map_err(|e| train_error(e.into()));
        }
        if let Some(path) = &self.init {
            let file = ModelFile::read_noting(path, &[]);
            let (file, assumed) = file.map_err(|e| CliError::Input(format!("--init {e}")))?;
            if !assumed.is_empty() && !self.quiet {
                tell(&assumption(path, &assumed));
            }
            return Ok(if matches!(file, ModelFile::Paper(_)) {
                RunKind::Paper
            } else {
                RunKind::Documented
            });
        }
        let tables = self.layers()?.into_iter().filter_map(|(_, text)| text.parse::<toml::Table>().ok());
        let is_paper = tables.into_iter().any(|table| RunKind::of_settings(&table) == RunKind::Paper);
        Ok(if is_paper { RunKind::Paper } else { RunKind::Documented })
    }

    fn claim(&self) -> Claim {
        match (self.resume, self.overwrite) {
            (true, _) => Claim::Resume,
            (_, true) => Claim::Overwrite,
            _ => Claim::New,
        }
    }

    /// Preset and file of settings as text, with where they come from.
    fn layers(&self) -> Result<Vec<(String, String)>, CliError> {
        let mut texts = Vec::new();
        if let Some(name) = &self.preset {
            texts.push(match Preset::named(name) {
                Some(preset) => (format!("preset {name}"), preset.toml.to_string()),
                None => (name.clone(), read_settings(Path::new(name), "no preset and no file of this name")?),
            });
        }
        if let Some(path) = &self.config {
            texts.push((path.display().to_string(), read_settings(path, "cannot read it")?));
        }
        Ok(texts)
    }

    /// Single settings: those of `--set`, then those of options of their own.
    fn assignments(&self, text: fn(&str) -> String) -> Vec<String> {
        let pruning = self.prune.map(|kind| format!("prune={}", text(kind.name())));
        let sparsity = self.sparsity.map(|sparsity| format!("sparsity={sparsity}"));
        self.set.iter().cloned().chain(pruning).chain(sparsity).collect()
    }
}

fn read_settings(path: &Path, otherwise: &str) -> Result<String, CliError> {
    let presets: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    std::fs::read_to_string(path).map_err(|e| {
        CliError::Input(format!("{}: {otherwise} ({e}); presets are: {}", path.display(), presets.join(", ")))
    })
}

fn read_checkpoint<S: Settings>(path: &Path, option: &str) -> Result<Checkpoint<S>, CliError> {
    Checkpoint::read_stored(path).map_err(|e| CliError::Input(format!("{option}{e}")))
}

/// The weights of a model to start from, if the settings ask for a model of its sizes.
fn weights_for<S: Settings>(settings: &S, start: &Checkpoint<S>) -> Result<Weights, CliError> {
    let layout = settings.layout();
    if layout.has_the_tensors_of(&start.config.layout()) {
        return Ok(Weights::from_state_dict(&layout, start.model.clone()));
    }
    Err(CliError::Input(
        "--init: the settings ask for a model of other sizes; leave out the preset or the settings that change them".into(),
    ))
}

fn train_error(error: TrainError) -> CliError {
    match error {
        TrainError::NoData
        | TrainError::NotResumable(_)
        | TrainError::OutOfMemory(_)
        | TrainError::Folder(_) => CliError::Input(error.to_string()),
        TrainError::Checkpoint(CheckpointError::Io { .. }) | TrainError::Io { .. } => {
            CliError::Failed(format!("{error}; checkpoints written before are untouched"))
        }
        _ => CliError::Failed(error.to_string()),
    }
}

/// A run whose plan nobody reads is not begun.
fn before_the_run(error: CliError) -> CliError {
    match error {
        CliError::OutputClosed => CliError::Failed(format!("{error}: nothing was begun")),
        other => other,
    }
}

/// The result: accuracy on rows that nothing was decided by, and one puzzle solved before your eyes.
fn conclude<K: Kind>(
    trainer: &Trainer<K>,
    folder: &RunFolder,
    early: bool,
    holdout: Option<&Evaluation>,
    display: Display,
) -> Result<(), CliError> {
    let progress = trainer.progress();
    let best = progress.history.iter().rev().find(|record| record.is_best);
    if display == Display::Json {
        let best = best.map(|record| match record.epoch {
            Some(epoch) => json!({"epoch": epoch, "val_cell_accuracy": record.val_cell_accuracy}),
            None => json!({"step": record.step, "val_cell_accuracy": record.val_cell_accuracy}),
        });
        return print_json(&json!({
            "event": "end",
            "early": early,
            "elapsed_s": progress.elapsed_s,
            "best": best,
            "holdout": holdout,
        }));
    }
    if display == Display::Quiet {
        return Ok(());
    }
    let rounds = if best.is_some_and(|best| best.epoch.is_none()) { "steps" } else { "epochs" };
    let reason = match early {
        true => "no better validation accuracy for a while: stopped early".to_string(),
        false => format!("all {rounds} done"),
    };
    print(&format!("\n{reason} after {}\n", duration(progress.elapsed_s)))?;
    if let Some(best) = best {
        let round = best.epoch.map_or(format!("step {}", best.step), |epoch| format!("epoch {epoch}"));
        let cells = best.val_cell_accuracy.unwrap_or(best.train_cell_accuracy);
        print(&format!("best {round}: {} of validation cells\n", percent(cells)))?;
    }
    if let Some(evaluation) = holdout {
        print(&format!("\nheld-out puzzles, never trained on nor chosen by:\n{}", eval::table(evaluation)))?;
    }
    show_one(trainer, folder)?;
    print(&format!(
        "checkpoints, history and picture are in {}; try: trm solve --model {} PUZZLE\n",
        folder.file("").display(),
        folder.production().display()
    ))
}

/// Solves a puzzle that was not trained on: the first that comes out solved, else the first.
fn show_one<K: Kind>(trainer: &Trainer<K>, folder: &RunFolder) -> Result<(), CliError> {
    let data = trainer.data();
    let unseen = if data.holdout.is_empty() { &data.validation } else { &data.holdout };
    let puzzles: Vec<Grid> = unseen.iter().take(1000).map(|p| p.quiz).collect();
    if puzzles.is_empty() {
        return Ok(());
    }
    let model = K::of_checkpoint(read_checkpoint(&folder.production(), "")?, trainer.threads());
    let answers = solve(&model, &puzzles, Givens::Preserved, &model.trained_budget(), trainer.threads());
    let solved = answers.iter().filter(|a| a.solved).count();
    let shown = answers.iter().position(|a| a.solved).unwrap_or(0);
    print(&format!(
        "\nwith the givens kept, {solved} of {} unseen puzzles are solved; number {} of them:\n\n{}\n{}",
        puzzles.len(),
        shown + 1,
        puzzles[shown],
        answer_grid(&answers[shown])
    ))
}
