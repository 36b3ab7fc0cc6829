//! `coder exec`

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::error::CliError;
use super::ui;
use crate::config;
use crate::errors::chain;
use crate::sessions::Caller;
use crate::sessions::client::Client;
use crate::sys::exec;

/// For a workspace that is still starting.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Run a command in the workspace's environment
///
/// The command takes the place of this process: process id, terminal, signals and exit code are its own. It gets the
/// variables of this process, and over them those of the template and your secrets; `coder exec env NAME=… COMMAND` has
/// the last word. It exits with 1 where there is no environment to be had, 127 where the command is not found, 126 where
/// it cannot be run.
///
/// Wait if the workspace is still starting. Fail immediately if no agent is running. With --wait, also wait for the agent
/// to start.
#[derive(Args)]
#[command(after_help = "\
Examples:
  coder exec make deploy
  coder exec --wait 2m -- sh -c 'echo \"$API_KEY\" | wc -c'")]
pub(crate) struct ExecArgs {
    /// Wait this long for a workspace that is still starting, and for an agent that is not running yet
    /// [default: 30s, for a running agent only]
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    wait: Option<Duration>,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl ExecArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let client = Client::new(ui::waiting);
        let launch = match self.wait {
            Some(wait) => client.waits_for_an_agent().resolve(Caller::Exec, wait)?,
            None => client.resolve(Caller::Exec, DEFAULT_WAIT)?,
        };
        if let Some(reason) = &launch.degraded {
            ui::warn(&ui::printable(&format!("the workspace is not as it should be: {reason}")));
        }
        launch.left_out.iter().for_each(|text| ui::warn(&ui::printable(text)));
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(CliError::Usage("no command".to_owned()));
        };
        let variables: Vec<_> = launch.variables.into_iter().map(|it| (it.name, it.value)).collect();
        let failure = exec::replace(program, arguments, &variables);
        ui::note(&ui::printable(&format!("coder exec: {}", chain(&failure))));
        Ok(ExitCode::from(failure.exit_code()))
    }
}
