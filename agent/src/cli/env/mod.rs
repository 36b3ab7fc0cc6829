//! `coder env`

mod format;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::error::CliError;
use super::ui;
use crate::config;
use crate::environment::{Origin, Variable};
use crate::sessions::{Caller, client};
pub(crate) use format::FormatError;

/// Print the variables of the workspace that this process does not have of its own
///
/// That is what `coder exec` would add or change. It prints values: send it where nobody else reads.
#[derive(Args)]
#[command(after_help = "\
Examples:
  eval \"$(coder env)\"                    # sh, bash, zsh
  coder env --format fish | source
  coder env --format json | jq -r .API_KEY
  coder env --format dotenv API_KEY DB_URL")]
pub(crate) struct EnvArgs {
    /// How to write it
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Format::Sh)]
    format: Format,

    /// How long to wait for a workspace that is still starting
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::duration)]
    wait: Duration,

    /// Only these; an error where one is not set [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Exports for dash, bash, zsh and others
    Sh,
    /// For fish's `source`
    Fish,
    /// A `.env` file, each value in single quotes
    Dotenv,
    /// One object
    Json,
    /// For `EnvironmentFile=` and user-environment generators
    Systemd,
    /// NAME=value, each ended by a null byte
    Nul,
}

impl EnvArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let launch = client::resolve(Caller::Exec, self.wait)?;
        launch.left_out.iter().for_each(|text| ui::warn(&ui::printable(text)));
        let chosen = self.choose(launch.variables)?;
        let (text, unnameable) = self.format.write(&chosen)?;
        for name in unnameable {
            ui::warn(&ui::printable(&format!("variable {name:?} is left out: this format cannot hold its name")));
        }
        ui::print_bytes(&text).map_err(CliError::output)
    }

    fn choose(&self, variables: Vec<Variable>) -> Result<Vec<Variable>, CliError> {
        if self.names.is_empty() {
            return Ok(variables.into_iter().filter(|it| it.origin != Origin::Caller).collect());
        }
        let missing = self.names.iter().find(|name| !variables.iter().any(|it| it.name == **name));
        match missing {
            Some(name) => Err(CliError::NoVariable(String::from_utf8_lossy(name.as_bytes()).into_owned())),
            None => Ok(variables.into_iter().filter(|it| self.names.contains(&it.name)).collect()),
        }
    }
}
