//! `coder-server completion`

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Shell to print the script for
    shell: Shell,
}

impl CompletionArgs {
    /// Prints the script.
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "coder-server", &mut script);
        io::stdout().write_all(&script)
    }
}
