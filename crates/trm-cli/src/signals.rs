//! Signals that ask a run to stop.

use crate::output::tell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that Ctrl-C, SIGTERM and SIGHUP raise; the second of them ends the program at once. Those that were ignored when
/// the program started, as nohup has SIGHUP ignored, stay ignored. The first is told unless `quiet`.
pub fn stop_on_ctrl_c(quiet: bool) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    // Without a handler a signal still ends the program; the last checkpoint is then the latest saved one.
    on_signal(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        if !quiet {
            tell("\nstopping after this step; Ctrl-C again to stop at once");
        }
    });
    flag
}

#[cfg(unix)]
fn on_signal(mut handle: impl FnMut() + Send + 'static) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal));
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(heard) {
        std::thread::spawn(move || signals.forever().for_each(|_| handle()));
    }
}

#[cfg(not(unix))]
fn on_signal(handle: impl FnMut() + Send + 'static) {
    let _ = ctrlc::set_handler(handle);
}

/// Whether the program was started with a signal ignored, where the system tells.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}
