//! What a run is made from and what it will take, before it starts.

use super::train_error;
use crate::commands::progress::Display;
use crate::error::CliError;
use crate::output::{bytes, print_json};
use serde_json::json;
use std::path::Path;
use trm::config::{CheckpointActivations, Curriculum, CurriculumBy, TrmConfig};
use trm::data::{Dataset, ReadOptions, cached_grades, difficulties, file_names, read_puzzles};
use trm::model::{MemoryPlan, flops_per_sample, parameter_count};
use trm::parallel::Threads;
use trm::sudoku::Generator;
use trm::train::{TrainError, TrainingData, split_data};

/// The puzzles that the settings name, generated and read from files.
pub(super) fn load_data(
    config: &TrmConfig,
    skip_bad_rows: bool,
    threads: &Threads,
    display: Display,
) -> Result<TrainingData, CliError> {
    let mut dataset = Dataset::default();
    if config.data.generate_samples > 0 {
        let givens = config.data.generate_givens_min..=config.data.generate_givens_max;
        display.say(&format!(
            "generating {} puzzles with {} to {} givens",
            config.data.generate_samples,
            givens.start(),
            givens.end()
        ));
        dataset.puzzles = Generator::new(config.network.seed, givens)
            .generate_many(config.data.generate_samples, threads)
            .map_err(|e| CliError::Input(e.to_string()))?;
        add_difficulty(config, &mut dataset, None, threads, display);
    }
    for file in file_names(&config.data.data) {
        let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
        let mut part = read_puzzles(Path::new(file), &options).map_err(|e| {
            CliError::Input(format!(
                "{e}\n  `trm data check` lists every bad row; --skip-bad-rows leaves them out"
            ))
        })?;
        add_difficulty(config, &mut part, Some(Path::new(file)), threads, display);
        dataset.append(part);
    }
    if dataset.skipped_count > 0 {
        display.say(&format!("skipped {} bad rows:", dataset.skipped_count));
        dataset.skipped.iter().take(10).for_each(|error| display.say(&format!("  {error}")));
    }
    Ok(split_data(&config.data, config.network.seed, dataset))
}

/// How hard the puzzles are, for a curriculum; grades of a file are kept beside it.
fn add_difficulty(
    config: &TrmConfig,
    part: &mut Dataset,
    file: Option<&Path>,
    threads: &Threads,
    display: Display,
) {
    if config.data.curriculum == Curriculum::None {
        return;
    }
    part.difficulty = match (config.data.curriculum_by, file) {
        (CurriculumBy::Guesses, Some(file)) => {
            let (grades, note) = cached_grades(file, &part.puzzles, threads);
            note.iter().for_each(|note| display.say(note));
            grades
        }
        (by, _) => difficulties(&part.puzzles, by, threads),
    };
}

/// What is about to happen, and what it will take.
pub(super) fn announce(
    config: &TrmConfig,
    data: &TrainingData,
    threads: &Threads,
    run: &Path,
    display: Display,
) -> Result<(), CliError> {
    let plan = MemoryPlan::for_training(config, threads.count());
    let (_, flops) = flops_per_sample(&config.network);
    if display == Display::Json {
        return print_json(&json!({
            "event": "plan",
            "parameters": parameter_count(&config.network),
            "flops_per_sample": flops,
            "memory_bytes": plan.total(),
            "threads": threads.count(),
            "instructions": trm::kernel_level(),
            "training": data.train.len(),
            "validation": data.validation.len(),
            "holdout": data.holdout.len(),
            "config": config,
        }));
    }
    display.say(&format!(
        "model    {} parameters: hidden_dim {}, L_layers {}, L_cycles {}, H_cycles {}\n\
         work     {:.2} GFLOP for each training puzzle; {} threads, {}\n\
         memory   {}: weights {}, gradients {}, optimiser {}, activations {}\n\
         data     {} puzzles to train on, {} for validation, {} held out\n\
         run      {}",
        grouped(parameter_count(&config.network)),
        config.network.hidden_dim,
        config.network.l_layers,
        config.network.l_cycles,
        config.network.h_cycles,
        flops as f64 / 1e9,
        threads.count(),
        trm::kernel_level(),
        bytes(plan.total()),
        bytes(plan.weights),
        bytes(plan.gradients),
        bytes(plan.optimizer),
        bytes(plan.activations),
        data.train.len(),
        data.validation.len(),
        data.holdout.len(),
        run.display()
    ));
    Ok(())
}

/// Refuses a run that cannot fit into memory, with the numbers and a way out.
pub(super) fn check_memory(config: &TrmConfig, threads: &Threads) -> Result<(), CliError> {
    let plan = MemoryPlan::for_training(config, threads.count());
    let available = available_memory();
    if available == 0 || plan.total() <= available {
        return Ok(());
    }
    let cycle = MemoryPlan::with_cycle_checkpoints(config, threads.count());
    let way_out =
        if config.run.checkpoint_activations == CheckpointActivations::None && cycle.total() <= available {
            format!(
                "--set checkpoint_activations=cycle needs {} and gives the same weights",
                bytes(cycle.total())
            )
        } else {
            "a smaller hidden_dim, batch_size or fewer cycles".to_string()
        };
    Err(train_error(TrainError::OutOfMemory(format!(
        "this run needs {} of memory ({} for activations), but {} are available. What helps: {way_out}",
        bytes(plan.total()),
        bytes(plan.activations),
        bytes(available)
    ))))
}

/// Bytes that may still be allocated; 0 if the system does not tell.
pub(super) fn available_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(limit)
}

/// `13473499` as `13,473,499`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut parts: Vec<&str> = if first > 0 { vec![&digits[..first]] } else { Vec::new() };
    parts.extend((first..digits.len()).step_by(3).map(|i| &digits[i..i + 3]));
    parts.join(",")
}
