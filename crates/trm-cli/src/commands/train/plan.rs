//! What a run is made from and what it will take, before it starts.

use crate::commands::progress::Display;
use crate::error::CliError;
use trm::config::DataConfig;
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
