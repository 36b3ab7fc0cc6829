//! `coder gitssh` and, for `gpg.ssh.program`, `coder -Y`

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use clap::Args;

use super::error::CliError;
use super::{block_on, ui};
use crate::errors::chain;
use crate::gitssh::{Ended, KeyUse, PublicKey, RunError, core_ssh_command, sign, ssh};
use crate::sessions::client::Client;
use crate::sys::{signal_state, terminal_child};

/// What ssh exits with when it could not log in, among other things.
const SSH_FAILED: i32 = 255;

/// Run ssh with your git key
///
/// This is what `GIT_SSH_COMMAND` runs in a workspace. The key is fetched when ssh is invoked, stays in memory, and is
/// offered by an ssh-agent that only this ssh can use. Keys of your own agent come first; an identity file or an agent
/// that your ssh configuration names is used instead. `CODER_GITSSH=off` runs ssh alone.
#[derive(Args)]
pub(crate) struct GitSshArgs {
    /// Arguments of ssh
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

impl GitSshArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let args = self.args;
        // Where that fails git's own configuration may go unseen, which is no reason to do nothing.
        drop(signal_state::hear_of_children());
        if ssh::is_off() {
            return Err(replace(ssh::plain(&args)));
        }
        if let Some(own) = core_ssh_command(&args) {
            return Err(replace(own));
        }
        if ssh::is_question(&args) {
            return Err(replace(ssh::plain(&args)));
        }
        let ended = match block_on(async { Ok(ssh::with_key(&args, Client::new(ui::waiting)).await) })? {
            Err(RunError::Socket(error)) => {
                ui::warn(&format!("your git key is not offered: {}", chain(&error)));
                return Err(replace(ssh::plain(&args)));
            }
            ended => ended?,
        };
        if ended.status.code() == Some(SSH_FAILED) {
            explain(&ended.key);
        }
        Ok(same_end(ended.status))
    }
}

/// `ssh-keygen -Y …` for git, which signs with `-Y sign` and has no place for the name of a command of ours.
pub(crate) fn keygen(args: &[OsString]) -> Result<ExitCode, CliError> {
    if !sign::is_signing(args) {
        return Err(replace(sign::plain(args)));
    }
    let Ended { status, key } = block_on(async { Ok(sign::with_key(args, Client::new(ui::waiting)).await?) })?;
    match key {
        _ if status.success() => {}
        KeyUse::Missing(error) => ui::note(&format!("coder: no key to sign with: {}", chain(&error))),
        KeyUse::Failed(error) => ui::note(&format!("coder: your Coder key did not sign: {}", chain(&error))),
        _ => {}
    }
    Ok(same_end(status))
}

/// Becomes `command`. Returns only where that failed.
fn replace(mut command: Command) -> CliError {
    let program = command.get_program().to_string_lossy().into_owned();
    RunError::Start { program, source: command.exec() }.into()
}

/// What the user can do about a login that failed for want of a key.
fn explain(key: &KeyUse) {
    match key {
        // It failed before or after the login: ssh has said why.
        KeyUse::Unasked | KeyUse::Signed => {}
        KeyUse::Passed(key) => {
            ui::note("coder: the server did not accept your Coder key. Give it this public key:");
            where_to_paste(&key.present());
        }
        KeyUse::Failed(error) => ui::note(&format!("coder: your Coder key did not sign: {}", chain(error))),
        KeyUse::LeftOut(reason) => ui::note(&format!("coder: your Coder key was not offered, because {reason}.")),
        KeyUse::Missing(error) => ui::note(&format!("coder: your Coder key was not offered: {}", chain(error))),
    }
}

fn where_to_paste(key: &PublicKey) {
    ui::note(&format!("\n{}\n", key.line()));
    ui::note(super::publickey::WHERE);
}

/// Ends as the program did: by the same signal, or with its exit code.
fn same_end(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        terminal_child::end_by(signal);
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
