//! Writing to standard output without falling over when the reader goes away (`trm ... | head`).

use crate::error::CliError;
use std::io::{ErrorKind, Write};
pub use trm::train::bytes;

/// Writes `text` to standard output. A closed pipe ends the program quietly, as other tools do.
///
/// # Errors
/// Standard output cannot be written to: a full disk behind a redirection.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(CliError::Failed(format!("standard output: {e}"))),
    }
}

/// Prints one JSON document on a line of its own.
///
/// # Errors
/// Standard output cannot be written to.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let mut line = serde_json::to_string(value).map_err(|e| CliError::Failed(e.to_string()))?;
    line.push('\n');
    print(&line)
}

/// `0.7355` as `73.55 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Seconds as `1 h 02 min`, `3 min 20 s` or `12 s`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}
