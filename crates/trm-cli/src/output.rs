//! Writing to standard output and standard error, whether or not anybody still reads them, and checks of the files that
//! a command is to write.

use crate::error::CliError;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use trm::atomic_file::{check_writable, is_same_file};
pub use trm::train::bytes;

/// Writes `text` to standard output.
///
/// # Errors
/// Standard output is closed, which ends the program quietly, as other tools do; or it cannot be written to: a full disk
/// behind a redirection.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(CliError::OutputClosed),
        Err(e) => Err(CliError::Failed(format!("standard output: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes a line to standard error, if anybody reads it. That nobody does is no reason to stop.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Checks, before any work, that a file can be written and is none of those that are read.
///
/// # Errors
/// One of `inputs`, a folder that does not exist or cannot be written in.
pub fn check_output(output: &Path, inputs: &[&Path]) -> Result<(), CliError> {
    if let Some(input) = inputs.iter().find(|input| is_same_file(input, output)) {
        return Err(CliError::Input(format!(
            "{}: it would be written over {}, which is read: name another file",
            output.display(),
            input.display()
        )));
    }
    check_writable(output).map_err(|e| CliError::Input(format!("{}: {e}", output.display())))
}

/// Endings that tell of something, by what they tell of.
const KNOWN_ENDINGS: [(&str, &[&str]); 6] = [
    ("JSON", &["json", "jsonl", "ndjson"]),
    ("CSV", &["csv"]),
    ("compressed", &["gz"]),
    ("a picture", &["png", "svg", "jpg", "jpeg", "pdf", "gif", "webp"]),
    ("a model", &["pt", "pth", "ckpt", "safetensors", "bin"]),
    (
        "something else",
        &[
            "tsv", "zip", "bz2", "xz", "zst", "7z", "tar", "tgz", "parquet", "feather", "xlsx", "xls", "ods",
            "npy", "npz", "h5", "onnx", "gguf", "pkl", "toml", "yaml", "yml", "xml", "html", "md", "ss",
            "sdk", "sdm", "sqlite", "db",
        ],
    ),
];

/// Refuses an ending that says something else than what is written: one of `kinds`, by its name in [`KNOWN_ENDINGS`].
///
/// # Errors
/// Such an ending, with those that fit.
pub fn check_ending(output: &Path, kinds: &[&str], fitting: &str) -> Result<(), CliError> {
    let Some(ending) = output.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase) else {
        return Ok(());
    };
    match KNOWN_ENDINGS.iter().find(|(_, endings)| endings.contains(&&*ending)) {
        Some((kind, _)) if !kinds.contains(kind) => {
            let path = output.display();
            Err(CliError::Input(format!(
                "{path}: what is written is no .{ending}: let its name end in {fitting}"
            )))
        }
        _ => Ok(()),
    }
}

/// The files of a picture, PNG and SVG, of which one was named; checked as [`check_output`] does.
///
/// # Errors
/// Another ending, and as for [`check_output`].
pub fn pictures(named: &Path, inputs: &[&Path]) -> Result<(PathBuf, PathBuf), CliError> {
    let ending = named.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
    let (png, svg) = match ending.as_deref() {
        Some("png") => (named.to_path_buf(), named.with_extension("svg")),
        Some("svg") => (named.with_extension("png"), named.to_path_buf()),
        _ => {
            let path = named.display();
            return Err(CliError::Input(format!(
                "{path}: a picture is written as PNG and as SVG: let its name end in .png or .svg"
            )));
        }
    };
    check_output(&png, inputs)?;
    check_output(&svg, inputs)?;
    Ok((png, svg))
}

/// One JSON document on a line of its own.
///
/// # Errors
/// As [`print`].
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
