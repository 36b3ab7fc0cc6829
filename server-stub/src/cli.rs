//! The command line.

mod completion;
mod man;

use clap::{Parser, Subcommand};

pub use completion::CompletionArgs;
pub use man::ManArgs;

use crate::admin::AdminCommand;
use crate::config::{ServeArgs, StoreArgs};

/// Keep the secrets of users encrypted, and deliver them to their workspaces.
#[derive(Debug, Parser)]
#[command(name = "coder-server", version, propagate_version = true, after_help = GETTING_STARTED)]
pub struct Cli {
    /// Where data and keys are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const GETTING_STARTED: &str = "\
Getting started:
  coder-server serve &
  coder-server user create alice
  coder-server workspace apply dev.yaml";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    #[command(after_help = "\
Examples:
  # For this machine alone.
  coder-server serve

  # For everybody, with TLS.
  coder-server serve --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem \\
    --access-url https://coder.example.com")]
    Serve(Box<ServeArgs>),
    /// Everything that works on the database and ends.
    #[command(flatten)]
    Admin(AdminCommand),
    /// Print a script that completes these commands in your shell
    #[command(after_help = "\
Examples:
  coder-server completion bash > ~/.local/share/bash-completion/completions/coder-server")]
    Completion(CompletionArgs),
    /// Write the man pages of these commands into a directory
    #[command(hide = true)]
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
