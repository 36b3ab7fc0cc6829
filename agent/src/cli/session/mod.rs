//! `coder session`

mod launch;
mod motd;
mod refused_names;
mod system_log;
mod system_motd;
mod target;

use std::process::ExitCode;

use clap::Args;

use super::ui;
use crate::errors::chain;
use crate::sessions::login::Login;
use crate::sessions::restricted_keys::{self, DEFAULT_FILES, KeyFiles};
use crate::sys::exec;
use crate::sys::users::Account;
use launch::Prepared;
use target::Target;

/// Start a login of sshd with the workspace's environment; for `ForceCommand`
///
/// `coder session` becomes the login shell, the command, scp or sftp that the client asked for, with the environment of
/// `coder exec`. A session waits up to ten seconds for a workspace that is still starting. Without an agent it starts
/// without secrets.
///
/// A key that `authorized_keys` restricts with `command=` runs that command and nothing else. sshd says which key it was
/// with `ExposeAuthInfo yes`. A login whose key cannot be told, or is in none of the files, is refused.
#[derive(Args)]
pub(crate) struct SessionArgs {
    /// Look for keys in these files, as in sshd's `AuthorizedKeysFile`; `%h`, `%u` and `%U` are home, name and id of the
    /// user
    #[arg(long, value_name = "FILE", num_args = 1.., default_values = DEFAULT_FILES)]
    authorized_keys: Vec<String>,

    /// Let in keys that are in none of these files, without restriction, such as those of an `AuthorizedKeysCommand`
    #[arg(long)]
    allow_unlisted_keys: bool,
}

impl SessionArgs {
    /// Returns only if nothing could be started.
    pub(crate) fn run(self) -> ExitCode {
        // A user database that does not answer is no reason to stay outside.
        let account = Account::current().ok().flatten();
        let login = Login::of_this_process(account.as_ref());
        let files = KeyFiles { patterns: &self.authorized_keys, allows_unlisted: self.allow_unlisted_keys };
        let auth_info = std::env::var_os(restricted_keys::AUTH_INFO);
        let forced = match restricted_keys::forced_command(&login, &files, auth_info.as_deref()) {
            Ok(forced) => forced,
            Err(refusal) => return refuse(&chain(&refusal)),
        };
        let is_forced = forced.is_some();
        let target = Target::new(forced.or_else(|| std::env::var_os(target::ORIGINAL_COMMAND)));
        let Prepared { variables, directory, motd, complaints } = Prepared::new(&login, is_forced);
        let is_interactive = target.is_login_shell() && ui::stdin_is_terminal();
        complain(&complaints, is_interactive);
        if is_interactive {
            system_motd::show(&login.home);
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
