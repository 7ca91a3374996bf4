//! `trm train`

mod paper;
mod plan;

use super::progress::{Display, Progress};
use super::{eval, solve};
use crate::error::CliError;
use crate::output::{duration, percent, print, print_json};
use crate::signals::stop_on_ctrl_c;
use plan::{announce, check_memory, load_data};
use serde_json::json;
use std::path::{Path, PathBuf};
use trm::checkpoint::{Checkpoint, CheckpointError};
use trm::config::{ConfigLayers, NetworkConfig, Pruning, TrmConfig};
use trm::evaluate::Evaluation;
use trm::model::Params;
use trm::parallel::Threads;
use trm::sudoku::Grid;
use trm::train::{Ending, RunFolder, TrainError, Trainer, run as run_training};

/// Settings that come with the program, by name.
pub const PRESETS: [(&str, &str); 6] = [
    ("quick", include_str!("../../../../presets/quick.toml")),
    ("documented", include_str!("../../../../presets/documented.toml")),
    ("kaggle", include_str!("../../../../presets/kaggle.toml")),
    ("cells", include_str!("../../../../presets/cells.toml")),
    ("minute", include_str!("../../../../presets/minute.toml")),
    ("solver", include_str!("../../../../presets/solver.toml")),
];

/// Options of `trm train`.
#[derive(clap::Args)]
#[command(after_help = "\
Settings come from the documented defaults, then --preset, then --config, then --data and --set; the last one wins.
Every setting of the specification is one: hidden_dim, L_layers, L_cycles, H_cycles, dropout, lr, weight_decay,
batch_size, epochs, and those of this program: update, gate_init, augment, ema, patience, checkpoint_activations ...
The file config.toml of a run lists them all. The presets paper-mlp and paper-att train the paper's model, whose settings
stand in the tables [model] and [training].

--prune clears weights while the others learn to do without; the best epoch is chosen among those after the last were
cleared. With structured, trm compress --prune structured at the same sparsity then takes the cleared units out.

Ctrl-C stops after the current step with everything saved; --resume goes on as if nothing had happened.

Examples:
  trm train --preset quick
  trm train --data data/sudoku.csv
  trm train --preset cells --data data/sudoku.csv
  trm train --data data/sudoku.csv --set hidden_dim=256 L_cycles=4 augment=true --run runs/small
  trm train --init model.pt --prune 2:4 --data data/sudoku.csv --set epochs=5 --run runs/sparse
  trm train --resume --run runs/small")]
pub struct TrainArgs {
    /// Settings that come with the program (quick, documented, kaggle, cells, minute, solver, paper-mlp, paper-att), or a TOML file
    #[arg(long, value_name = "NAME")]
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
    if paper::is_meant(&args)? {
        return paper::run(&args);
    }
    let folder_file = args.run.join("trm_sudoku_last.pt");
    let resumed = if args.resume { Some(read_last(&folder_file)?) } else { None };
    if resumed.is_none() && folder_file.exists() && !args.overwrite {
        return Err(holds_a_run(&args.run));
    }
    let start = args.init.as_deref().map(read_start).transpose()?;
    let config = match &resumed {
        Some(checkpoint) => checkpoint.config.clone(),
        None => args.settings(start.as_ref())?,
    };
    let start = start.map(|start| weights_for(&config.network, &start)).transpose()?;
    let display = Display::choose(args.quiet, args.json);
    let threads = Threads::new(args.threads);
    let data = load_data(&config, args.skip_bad_rows, &threads, display)?;
    announce(&config, &data, &threads, &args.run, display).map_err(before_the_run)?;
    check_memory(&config, &threads)?;

    let folder = RunFolder::create(&args.run).map_err(train_error)?;
    let mut trainer = match (&resumed, start) {
        (Some(checkpoint), _) => Trainer::resume(checkpoint, data, threads),
        (None, Some(weights)) => Trainer::from_weights(config, weights, data, threads),
        (None, None) => Trainer::new(config, data, threads),
    }
    .map_err(train_error)?;
    drop(resumed);
    display.say("each epoch: loss and cells right in training and validation; * is the best so far");
    let mut progress = Progress::new(display, stop_on_ctrl_c(args.quiet));
    let ending = run_training(&mut trainer, &folder, &mut progress);
    progress.finish();
    match ending.map_err(train_error)? {
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
    fn settings(&self, start: Option<&Checkpoint>) -> Result<TrmConfig, CliError> {
        let input = |e: &dyn std::fmt::Display| CliError::Input(e.to_string());
        let mut layers = ConfigLayers::default();
        if let Some(start) = start {
            layers = layers.toml(&start.config.to_toml(), "--init").map_err(|e| input(&e))?;
        }
        if let Some(name) = &self.preset {
            let (text, origin) = match PRESETS.iter().find(|(known, _)| known == name) {
                Some((_, text)) => ((*text).to_string(), format!("preset {name}")),
                None => (read_settings(Path::new(name), "no preset and no file of this name")?, name.clone()),
            };
            layers = layers.toml(&text, &origin).map_err(|e| input(&e))?;
        }
        if let Some(path) = &self.config {
            let text = read_settings(path, "cannot read it")?;
            layers = layers.toml(&text, &path.display().to_string()).map_err(|e| input(&e))?;
        }
        for set in &self.set {
            layers = layers.set(set).map_err(|e| input(&e))?;
        }
        let pruning = self.prune.map(|kind| format!("prune={}", kind.name()));
        let sparsity = self.sparsity.map(|sparsity| format!("sparsity={sparsity}"));
        for set in pruning.into_iter().chain(sparsity) {
            layers = layers.set(&set).map_err(|e| input(&e))?;
        }
        let mut config = layers.build().map_err(|e| input(&e))?;
        if let Some(path) = &self.data {
            config.data.data = path.display().to_string();
            config.data.generate_samples = 0;
        }
        if config.data.data.is_empty() && config.data.generate_samples == 0 {
            return Err(input(&TrainError::NoData));
        }
        Ok(config)
    }
}

fn holds_a_run(folder: &Path) -> CliError {
    CliError::Input(format!(
        "{} holds a run already; go on with it by --resume, replace it by --overwrite, or choose another folder with \
         --run",
        folder.display()
    ))
}

fn read_settings(path: &Path, otherwise: &str) -> Result<String, CliError> {
    let presets: Vec<&str> = PRESETS.iter().chain(&paper::PRESETS).map(|(name, _)| *name).collect();
    std::fs::read_to_string(path).map_err(|e| {
        CliError::Input(format!("{}: {otherwise} ({e}); presets are: {}", path.display(), presets.join(", ")))
    })
}

fn read_last(path: &Path) -> Result<Checkpoint, CliError> {
    if !path.exists() {
        return Err(CliError::Input(format!("there is no run to resume: {} does not exist", path.display())));
    }
    Checkpoint::read(path).map_err(|e| CliError::Input(e.to_string()))
}

/// The model that --init names.
fn read_start(path: &Path) -> Result<Checkpoint, CliError> {
    Checkpoint::read(path).map_err(|e| CliError::Input(format!("--init {e}")))
}

/// Its weights, if the settings ask for a model of its sizes.
fn weights_for(config: &NetworkConfig, start: &Checkpoint) -> Result<Params, CliError> {
    if Params::layout(config) == Params::layout(&start.config.network) {
        return Ok(Params::from_state_dict(config, start.model.clone()));
    }
    Err(CliError::Input(
        "--init: the settings ask for a model of other sizes; leave out the preset or the settings that change them".into(),
    ))
}

fn train_error(error: TrainError) -> CliError {
    match error {
        TrainError::NoData | TrainError::NotResumable(_) | TrainError::OutOfMemory(_) => {
            CliError::Input(error.to_string())
        }
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
fn conclude(
    trainer: &Trainer,
    folder: &RunFolder,
    early: bool,
    holdout: Option<&Evaluation>,
    display: Display,
) -> Result<(), CliError> {
    let progress = trainer.progress();
    let best = progress.best.map(|(accuracy, epoch)| json!({"epoch": epoch, "val_cell_accuracy": accuracy}));
    if display == Display::Json {
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
    let reason =
        if early { "no better validation accuracy for a while: stopped early" } else { "all epochs done" };
    print(&format!("\n{reason} after {}\n", duration(progress.elapsed_s)))?;
    if let Some((accuracy, epoch)) = progress.best {
        print(&format!("best epoch {epoch}: {} of validation cells\n", percent(accuracy)))?;
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
fn show_one(trainer: &Trainer, folder: &RunFolder) -> Result<(), CliError> {
    let data = trainer.data();
    let unseen = if data.holdout.is_empty() { &data.validation } else { &data.holdout };
    let puzzles: Vec<Grid> = unseen.iter().take(1000).map(|p| p.quiz).collect();
    if puzzles.is_empty() {
        return Ok(());
    }
    let best = Checkpoint::read(&folder.production()).map_err(|e| CliError::Failed(e.to_string()))?;
    let model = best.into_model(trainer.threads());
    let answers = solve::answers_of(&model, &puzzles, trainer.threads());
    let solved = answers.iter().filter(|a| a.solved).count();
    let shown = answers.iter().position(|a| a.solved).unwrap_or(0);
    print(&format!(
        "\nwith the givens kept, {solved} of {} unseen puzzles are solved; number {} of them:\n\n{}\n{}",
        puzzles.len(),
        shown + 1,
        puzzles[shown],
        solve::answer_grid(&answers[shown])
    ))
}
