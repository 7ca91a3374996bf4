//! How a command fails, and the exit code that says so.

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Wrong usage or bad input.
    #[error("{0}")]
    Input(String),
    /// The command was right, the run failed.
    #[error("{0}")]
    Failed(String),
    /// Nobody reads standard output any more.
    #[error("standard output was closed")]
    OutputClosed,
    /// Ctrl-C; everything is saved.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Exit code: 2 for input, 1 for a failed run, 0 where a reader went away, 130 for Ctrl-C as shells have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Failed(_) => 1,
            Self::OutputClosed => 0,
            Self::Interrupted => 130,
        }
    }
}
