//! `coder session`

mod authorized_keys;
mod launch;
mod motd;
mod restriction;
mod system_log;
mod target;

use std::process::ExitCode;

use clap::Args;

use super::ui;
use crate::errors::chain;
use crate::sys::exec;
use crate::sys::users::Account;
use launch::Prepared;
use restriction::{DEFAULT_FILES, Login};
use target::Target;

/// Start a login of sshd with the workspace's environment; for `ForceCommand`
///
/// It becomes the login shell, the command, scp or sftp that the client asked for, with the environment of `coder exec`.
/// A session waits up to ten seconds for a workspace that is still starting; without an agent it starts all the same,
/// without secrets. A key with a `command=` of its own runs that, and needs `ExposeAuthInfo yes` to be told apart.
#[derive(Args)]
pub(crate) struct SessionArgs {
    /// Where sshd's `AuthorizedKeysFile` is, if elsewhere; `%h`, `%u` and `%U` are home, name and id of the user
    #[arg(long, value_name = "FILE", num_args = 1.., default_values = DEFAULT_FILES)]
    authorized_keys: Vec<String>,
}

impl SessionArgs {
    /// Returns only where nothing could be started.
    pub(crate) fn run(self) -> ExitCode {
        // A user database that does not answer is no reason to stay outside.
        let account = Account::current().ok().flatten();
        let login = Login::of_this_process(account.as_ref());
        let forced = match restriction::find(&login, &self.authorized_keys) {
            Ok(forced) => forced,
            Err(refusal) => return refuse(&chain(&refusal)),
        };
        let is_forced = forced.is_some();
        let target = Target::new(forced.or_else(|| std::env::var_os(target::ORIGINAL_COMMAND)));
        let Prepared { variables, directory, motd, complaints } = Prepared::new(is_forced);
        let is_interactive = target.is_login_shell() && ui::stdin_is_terminal();
        complain(&complaints, is_interactive);
        if is_interactive {
            motd::show(&motd, &login.home);
        }
        // sshd starts every session in the home, which serves where the workspace's directory is not there.
        let _ = directory.map(std::env::set_current_dir);
        let (program, name, arguments) = target.into_command(&login.shell);
        let failure = exec::replace_as(&program, &name, &arguments, &variables);
        ui::note(&ui::printable(&format!("coder session: {}", chain(&failure))));
        ExitCode::from(failure.exit_code())
    }
}

/// Only a person at a terminal is told: a program at the other end could take a line for an answer.
fn complain(complaints: &[String], is_interactive: bool) {
    for complaint in complaints {
        system_log::write(complaint);
        if is_interactive {
            ui::warn(&ui::one_line(complaint));
        }
    }
}

fn refuse(reason: &str) -> ExitCode {
    system_log::write(&format!("refused a session: {reason}"));
    ui::note(&ui::one_line(&format!("coder session: {reason}")));
    ExitCode::FAILURE
}
