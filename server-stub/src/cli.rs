//! The command line.

use clap::{Parser, Subcommand};

use crate::admin::AdminCommand;
use crate::config::{ServeArgs, StoreArgs};

/// A small self-hosted control plane: keeps user secrets encrypted and delivers them to workspaces.
#[derive(Debug, Parser)]
#[command(name = "coder-server", version, propagate_version = true)]
pub struct Cli {
    /// Where data and keys are.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Everything else works on the data directory and ends.
    #[command(flatten)]
    Admin(AdminCommand),
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
