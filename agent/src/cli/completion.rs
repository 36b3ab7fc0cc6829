//! `coder completion`

use clap::Args;
use clap_complete::Shell;

use super::error::CliError;
use super::ui;

/// Print a script that completes these commands in your shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Bash, for you alone.
  coder completion bash > ~/.local/share/bash-completion/completions/coder

  # Zsh: any directory of $fpath.
  coder completion zsh > ~/.zfunc/_coder

  # Fish.
  coder completion fish > ~/.config/fish/completions/coder.fish")]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

impl CompletionArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "coder", &mut script);
        ui::print(String::from_utf8_lossy(&script).trim_end()).map_err(CliError::output)
    }
}
