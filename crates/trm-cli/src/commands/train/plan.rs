//! What a run is made from and what it will take, before it starts.

use crate::commands::progress::Display;
use crate::error::CliError;
use crate::output::{bytes, print_json};
use serde_json::json;
use std::path::Path;
use trm::config::{DataConfig, TrmConfig};
use trm::model::{MemoryPlan, flops_per_sample, parameter_count};
use trm::parallel::Threads;
use trm::train::{LoadError, LoadNote, TrainingData};

/// The puzzles that the settings name; what there is to tell is said as `display` does.
pub(super) fn load_data(
    config: &DataConfig,
    seed: u64,
    skip_bad_rows: bool,
    threads: &Threads,
    display: Display,
) -> Result<TrainingData, CliError> {
    let tell = &mut |note: LoadNote| display.say(&note.to_string());
    TrainingData::load(config, seed, skip_bad_rows, threads, tell).map_err(|e| match e {
        LoadError::Generate(e) => CliError::Input(e.to_string()),
        LoadError::File(e) => CliError::Input(format!(
            "{e}\n  `trm data check` lists every bad row; --skip-bad-rows leaves them out"
        )),
    })
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

/// Bytes that may still be allocated; no end of them if the system does not tell.
pub(super) fn available_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    match system.available_memory().min(limit) {
        0 => u64::MAX,
        available => available,
    }
}

/// `13473499` as `13,473,499`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut parts: Vec<&str> = if first > 0 { vec![&digits[..first]] } else { Vec::new() };
    parts.extend((first..digits.len()).step_by(3).map(|i| &digits[i..i + 3]));
    parts.join(",")
}
