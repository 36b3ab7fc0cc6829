//! `coder env`

mod dotenv;
mod format;
mod tcsh;
mod value;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use protocol::secret::Secret;

use super::error::CliError;
use super::ui;
use crate::config;
use crate::environment::{LAUNCH_VARIABLE, Origin, Variable};
use crate::sessions::Caller;
use crate::sessions::client::Client;
use format::LeftOut;
use value::FormatError;

/// Print the variables of the workspace that this process does not have of its own
///
/// These are what `coder exec` would add or change. The output holds values: send it where nobody else reads.
///
/// A variable whose name the reader keeps for internal use, such as UID in bash, is left out with a warning. The format
/// sh leaves out what any of bash, dash, mksh and zsh keeps; their own formats leave out their own names alone.
#[derive(Args)]
#[command(after_help = "\
Examples:
  eval \"$(coder env)\"                    # sh, bash, zsh and others
  coder env --format fish | source
  coder env --format json | jq -r .API_KEY
  coder env --format dotenv API_KEY DB_URL

In tcsh, which cannot eval a newline otherwise:
  set coder_backslash = '\\'
  set coder_newline = '\\
  '
  eval \"`coder env --format tcsh`\"")]
pub(crate) struct EnvArgs {
    /// Print the variables in this format
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Format::Sh)]
    format: Format,

    /// Print what a login shell needs: PATH is joined as in a session over SSH
    #[arg(long)]
    login: bool,

    /// Wait this long for a workspace that is still starting
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::duration)]
    wait: Duration,

    /// Print only these variables; fail if any is unset [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Exports for any POSIX shell
    Sh,
    /// Exports for bash
    Bash,
    /// Exports for dash
    Dash,
    /// Exports for mksh
    Mksh,
    /// Exports for zsh
    Zsh,
    /// For fish's `source`
    Fish,
    /// For the `eval` of tcsh
    Tcsh,
    /// A `.env` file, each value in single quotes
    Dotenv,
    /// One object
    Json,
    /// For `EnvironmentFile=` and user-environment generators
    Systemd,
    /// NAME=value, each ended by a null byte
    Nul,
}

impl From<FormatError> for CliError {
    fn from(error: FormatError) -> Self {
        Self::Format(Box::new(error))
    }
}

impl EnvArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let caller = if self.login { Caller::Session } else { Caller::Exec };
        let launch = Client::new(ui::waiting).resolve(caller, self.wait)?;
        launch.left_out.iter().for_each(|text| ui::warn(&ui::printable(text)));
        let mut chosen = self.choose(launch.variables)?;
        if self.format == Format::Systemd && self.names.is_empty() {
            chosen.extend(emptied(&launch.gone, &chosen));
        }
        let (text, left_out) = self.format.write(&chosen)?;
        let is_told = |it: &&LeftOut| it.is_missed() || !self.names.is_empty();
        for left_out in left_out.iter().filter(is_told) {
            ui::warn(&ui::printable(&left_out.to_string()));
        }
        ui::print_bytes(&text).map_err(CliError::output)
    }

    fn choose(&self, variables: Vec<Variable>) -> Result<Vec<Variable>, CliError> {
        if self.names.is_empty() {
            return Ok(variables.into_iter().filter(is_new).collect());
        }
        let missing = self.names.iter().find(|name| !variables.iter().any(|it| it.name == **name));
        match missing {
            Some(name) => Err(CliError::NoVariable(String::from_utf8_lossy(name.as_bytes()).into_owned())),
            None => Ok(variables.into_iter().filter(|it| self.names.contains(&it.name)).collect()),
        }
    }
}

/// What the reader may have of an earlier output. A user-environment generator cannot unset a variable, but empty it.
fn emptied(gone: &[String], chosen: &[Variable]) -> Vec<Variable> {
    let is_gone = |name: &&String| !chosen.iter().any(|variable| variable.name == ***name);
    let empty = |name: &String| Variable { name: name.into(), value: Secret::default(), origin: Origin::Secret };
    gone.iter().filter(is_gone).map(empty).collect()
}

/// Whether the reader does not have the variable, or has another value. How this process was started says nothing about
/// the reader.
fn is_new(variable: &Variable) -> bool {
    !matches!(variable.origin, Origin::Caller | Origin::Appended) && variable.name != LAUNCH_VARIABLE
}
