//! `trm completions`

use crate::cli::Cli;
use crate::error::CliError;
use crate::output::print;
use clap::CommandFactory;

/// Options of `trm completions`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  trm completions bash > ~/.local/share/bash-completion/completions/trm
  trm completions zsh > ~/.zfunc/_trm
  trm completions fish > ~/.config/fish/completions/trm.fish")]
pub struct CompletionsArgs {
    /// Your shell
    shell: clap_complete::Shell,
}

/// Prints the completion script.
pub fn run(args: CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trm", &mut script);
    print(&String::from_utf8_lossy(&script))
}
