//! `trm train` for the paper's model.

use super::plan::{available_memory, grouped, load_data};
use super::{TrainArgs, before_the_run, read_settings, train_error};
use crate::commands::eval;
use crate::commands::progress::{Display, JsonOutput, validation_text};
use crate::error::CliError;
use crate::output::{bytes, duration, percent, print, print_json};
use crate::signals::stop_on_ctrl_c;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use toml::Table;
use trm::checkpoint::PaperCheckpoint;
use trm::parallel::Threads;
use trm::train::TrainError;
use trm::train::paper::{Observer, Record, RunFolder, Settings, StepReport, Trainer, run as run_training};

/// Settings that come with the program, by name.
pub const PRESETS: [(&str, &str); 2] = [
    ("paper-mlp", include_str!("../../../../../presets/paper-mlp.toml")),
    ("paper-att", include_str!("../../../../../presets/paper-att.toml")),
];
/// Time between two lines about steps.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Whether the paper's model is to be trained: by a run in the folder, or by settings in tables of that training.
pub fn is_meant(args: &TrainArgs) -> Result<bool, CliError> {
    if args.resume {
        return Ok(RunFolder::last_in(&args.run).exists());
    }
    Ok(layers(args)?.iter().any(|(_, table)| table.contains_key("model") || table.contains_key("training")))
}

/// Preset and file of settings, with where they come from. What is no TOML is left to those who read it.
fn layers(args: &TrainArgs) -> Result<Vec<(String, Table)>, CliError> {
    let mut texts = Vec::new();
    if let Some(name) = &args.preset {
        let known = PRESETS.iter().chain(&super::PRESETS).find(|(known, _)| known == name);
        let text = match known {
            Some((_, text)) => (*text).to_string(),
            None => read_settings(Path::new(name), "no preset and no file of this name")?,
        };
        texts.push((name.clone(), text));
    }
    if let Some(path) = &args.config {
        texts.push((path.display().to_string(), read_settings(path, "cannot read it")?));
    }
    Ok(texts.into_iter().filter_map(|(origin, text)| Some((origin, text.parse().ok()?))).collect())
}

/// Defaults, preset, file, `--data` and `--set`; the last one wins.
fn settings(args: &TrainArgs) -> Result<Settings, CliError> {
    let mut merged = Table::new();
    for (origin, layer) in layers(args)? {
        for (key, value) in layer {
            match (merged.get_mut(&key).and_then(|old| old.as_table_mut()), value) {
                (Some(old), toml::Value::Table(new)) => old.extend(new),
                (_, value) => drop(merged.insert(key, value)),
            }
        }
        Settings::from_toml(&merged.to_string(), &[])
            .map_err(|e| CliError::Input(format!("{origin}: {e}")))?;
    }
    let settings = Settings::from_toml(&merged.to_string(), &args.set);
    let mut settings = settings.map_err(|e| CliError::Input(format!("--set: {e}")))?;
    if let Some(path) = &args.data {
        settings.training.data = path.display().to_string();
        settings.training.generate_samples = 0;
    }
    if settings.training.data.is_empty() && settings.training.generate_samples == 0 {
        return Err(CliError::Input(TrainError::NoData.to_string()));
    }
    Ok(settings)
}

/// Trains and evaluates.
pub fn run(args: &TrainArgs) -> Result<(), CliError> {
    if args.init.is_some() || args.prune.is_some() {
        return Err(CliError::Input("--init, --prune: not for the paper's model".into()));
    }
    let last = RunFolder::last_in(&args.run);
    if !args.resume && last.exists() && !args.overwrite {
        return Err(super::holds_a_run(&args.run));
    }
    let resumed = if args.resume { Some(read_run(&last)?) } else { None };
    let settings = match &resumed {
        Some((settings, _)) => settings.clone(),
        None => settings(args)?,
    };
    let display = Display::choose(args.quiet, args.json);
    let threads = Threads::new(args.threads);
    let data = load_data(&settings.training.data_config(), args.skip_bad_rows, &threads, display)?;
    check_memory(&settings)?;
    let folder = RunFolder::create(&args.run).map_err(train_error)?;
    let trainer = match &resumed {
        Some((_, checkpoint)) => Trainer::resume(checkpoint, data, threads),
        None => Trainer::new(settings, data, threads),
    };
    let mut trainer = trainer.map_err(train_error)?;
    drop(resumed);
    announce(&trainer, &args.run, display).map_err(before_the_run)?;
    let mut progress = Progress::new(display, stop_on_ctrl_c(args.quiet));
    match run_training(&mut trainer, &folder, &mut progress).map_err(train_error)? {
        None => {
            progress.output.check()?;
            let run = args.run.display();
            display.say(&format!("stopped; everything is saved. Go on with: trm train --resume --run {run}"));
            Err(CliError::Interrupted)
        }
        Some(holdout) => {
            if display == Display::Json {
                return print_json(&json!({"event": "end", "holdout": holdout}));
            }
            if display == Display::Quiet {
                return Ok(());
            }
            if let Some(evaluation) = holdout {
                print(&format!(
                    "\nheld-out puzzles, never trained on nor chosen by:\n{}",
                    eval::table(&evaluation)
                ))?;
            }
            print(&format!("try: trm solve --model {} PUZZLE\n", folder.production().display()))
        }
    }
}

fn read_run(path: &Path) -> Result<(Settings, PaperCheckpoint), CliError> {
    let read = PaperCheckpoint::read(path, &[]).map_err(|e| CliError::Input(e.to_string()))?;
    let no_run = || TrainError::NotResumable(format!("{} holds no run", path.display()));
    let checkpoint = read.ok_or_else(no_run).map_err(train_error)?;
    let settings = Trainer::settings_of(&checkpoint).map_err(train_error)?;
    Ok((settings, checkpoint))
}

fn announce(trainer: &Trainer, run: &Path, display: Display) -> Result<(), CliError> {
    let (settings, data) = (trainer.settings(), trainer.data());
    let parameters: u64 = settings.model.parameter_count();
    let [training, validation, holdout] = data.sizes();
    if display == Display::Json {
        return print_json(&json!({
            "event": "plan",
            "parameters": parameters,
            "memory_bytes": settings.memory_bytes(),
            "threads": trainer.threads().count(),
            "training": training,
            "validation": validation,
            "holdout": holdout,
            "settings": settings,
        }));
    }
    display.say(&format!(
        "model    {} parameters of the paper's model: hidden_size {}, L_layers {}, L_cycles {}, H_cycles {}, {}\n\
         memory   {}\n\
         data     {training} puzzles to train on, {validation} for validation, {holdout} held out\n\
         run      {}, {} steps of {} puzzles\n\
         each validation: loss and cells right in training, boards right when they leave; * is the best so far",
        grouped(parameters),
        settings.model.hidden_size,
        settings.model.l_layers,
        settings.model.l_cycles,
        settings.model.h_cycles,
        if settings.model.mlp_t { "mixed tokens" } else { "attention" },
        bytes(settings.memory_bytes()),
        run.display(),
        settings.training.steps,
        settings.training.batch_size,
    ));
    Ok(())
}

fn check_memory(settings: &Settings) -> Result<(), CliError> {
    let (needed, available) = (settings.memory_bytes(), available_memory());
    if available == 0 || needed <= available {
        return Ok(());
    }
    Err(train_error(TrainError::OutOfMemory(format!(
        "this run needs {} of memory, but {} are available. What helps: a smaller hidden_size or batch_size",
        bytes(needed),
        bytes(available)
    ))))
}

/// Shows a run's progress: a line now and then, or JSON.
struct Progress {
    display: Display,
    stop: Arc<AtomicBool>,
    output: JsonOutput,
    last_line: Instant,
}

impl Progress {
    fn new(display: Display, stop: Arc<AtomicBool>) -> Self {
        Self { display, stop, output: JsonOutput::default(), last_line: Instant::now() }
    }
}

impl Observer for Progress {
    fn step(&mut self, trainer: &Trainer, report: &StepReport) {
        if self.last_line.elapsed() < LINE_EVERY {
            return;
        }
        self.last_line = Instant::now();
        self.display.say(&format!(
            "step {}/{}  loss {:.4}  cells {}  lr {:.1e}  {} puzzles left, {:.1} segments/s",
            report.step,
            trainer.settings().training.steps,
            report.loss,
            percent(report.cell_accuracy),
            report.lr,
            report.halted,
            report.segments_per_s,
        ));
    }

    fn validation(&mut self, trainer: &Trainer, record: &Record) {
        self.last_line = Instant::now();
        if self.display == Display::Json {
            #[derive(Serialize)]
            struct Event<'a> {
                event: &'static str,
                #[serde(flatten)]
                record: &'a Record,
            }
            self.output.print(&Event { event: "validation", record });
            return;
        }
        let validation = validation_text(
            record.val_loss,
            [record.val_cell_accuracy, record.val_blank_accuracy, record.val_board_accuracy],
            record.val_conflicts_per_board,
        );
        self.display.say(&format!(
            "step {}/{}: training {:.4} {}, boards {} after {:.1} segments; {validation}{}; {}",
            record.step,
            trainer.settings().training.steps,
            record.train_loss,
            percent(record.train_cell_accuracy),
            percent(record.train_board_accuracy),
            record.segments,
            if record.is_best { " *" } else { "" },
            duration(record.elapsed_s)
        ));
    }

    fn wants_to_stop(&self) -> bool {
        self.output.is_lost() || self.stop.load(Ordering::SeqCst)
    }
}
