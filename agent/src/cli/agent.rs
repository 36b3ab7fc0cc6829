//! `coder agent` and `coder agent reload`

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::ui;
use crate::config::{self, AgentArgs};
use crate::daemon;
use crate::sessions::client::Client;

/// Deliver your secrets in this workspace, run its scripts and, after `--`, its main process
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  # As the entrypoint of an image.
  coder agent -- code-server

  # As root, for the user of the workspace.
  coder agent --user alice --agent-token-file /run/secrets/agent-token

  # See what would be delivered.
  coder agent --dry-run"
)]
pub(crate) struct AgentCommand {
    #[command(flatten)]
    args: AgentArgs,

    #[command(subcommand)]
    command: Option<AgentSubcommand>,
}

#[derive(Subcommand)]
enum AgentSubcommand {
    Reload(ReloadArgs),
}

/// Have the running agent fetch and deliver the secrets now
///
/// New processes get the fetched secrets; running processes keep what they have. Startup scripts do not run again.
#[derive(Args)]
#[command(after_help = "Examples:\n  coder secret update api-key && coder agent reload")]
struct ReloadArgs {
    /// Fail if the delivery takes longer than this
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::duration)]
    wait: Duration,
}

impl AgentCommand {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self.command {
            Some(AgentSubcommand::Reload(args)) => {
                ui::note(&ui::printable(&Client::new(ui::waiting).reload(args.wait)?));
                Ok(ExitCode::SUCCESS)
            }
            None => Ok(daemon::run(self.args)),
        }
    }
}
