//! ssh as git runs it, with the key at its side where that helps.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::choice::{self, LeftOut};
use super::run::{self, Ended, RunError};
use crate::sys::users::Account;

/// Variable that turns everything here off.
const SWITCH: &str = "CODER_GITSSH";
/// Set for the user's own `core.sshCommand`, lest one that names us calls itself for ever.
const DEFERRED: &str = "CODER_GITSSH_DEFERRED";
/// Longest wait for ssh to print its configuration, which runs commands of `Match exec`.
const CONFIG_LIMIT: Duration = Duration::from_secs(5);
/// Most of it that is read; it is some 5 KiB.
const MAX_CONFIG: u64 = 256 * 1024;

/// ssh with these arguments and without us.
#[must_use]
pub fn plain(args: &[OsString]) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(args);
    ssh
}

/// Whether ssh is to be left alone: the user says so, or it is only asked about itself, as git does to learn which ssh
/// it has (`-G`).
#[must_use]
pub fn is_off(args: &[OsString]) -> bool {
    let off = std::env::var_os(SWITCH).is_some_and(|value| value.eq_ignore_ascii_case("off"));
    off || args.first().is_some_and(|first| ["-G", "-V", "-Q"].iter().any(|flag| first == flag))
}

/// What the user has configured git to run instead of ssh. git would not ask, since `GIT_SSH_COMMAND` comes before its
/// configuration.
#[must_use]
pub fn configured(args: &[OsString]) -> Option<Command> {
    if std::env::var_os(DEFERRED).is_some() {
        return None;
    }
    let mut git = Command::new("git");
    let output = git.args(["config", "--get", "core.sshCommand"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let command = String::from_utf8(output.ok()?.stdout).ok()?;
    let command = command.trim();
    if command.is_empty() {
        return None;
    }
    // As git itself runs it.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{command} \"$@\""), command]).args(args).env(DEFERRED, "1");
    Some(shell)
}

/// Runs ssh with the key offered to it after the keys of the user's own agent, unless ssh's configuration names others.
pub async fn with_key(args: &[OsString]) -> Result<Ended, RunError> {
    run::run(plain(args), choose(args)).await
}

/// What ssh itself says about these arguments. Where it says nothing it will fail by itself, and better than we could.
async fn choose(args: &[OsString]) -> Option<LeftOut> {
    let config = tokio::time::timeout(CONFIG_LIMIT, configuration(args)).await.ok().flatten().unwrap_or_default();
    // ssh's `~` is the account's home, whatever HOME says.
    let home = Account::current().ok().flatten().map(|account| account.home).unwrap_or_default();
    choice::left_out(&config, &home, Path::exists)
}

async fn configuration(args: &[OsString]) -> Option<String> {
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.arg("-G").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = ssh.spawn().ok()?;
    let mut text = String::new();
    child.stdout.take()?.take(MAX_CONFIG).read_to_string(&mut text).await.ok()?;
    child.wait().await.ok()?;
    Some(text)
}

/// `GIT_SSH_COMMAND` for what runs in the workspace: this executable. None where the kernel does not tell its path.
#[must_use]
pub fn git_ssh_command() -> Option<OsString> {
    let path = std::env::current_exe().ok()?;
    // An upgrade may have put a new file in its place since we started.
    let path = path.to_str()?.trim_end_matches(" (deleted)");
    Some(command_line(Path::new(path)))
}

/// git gives it to a shell.
fn command_line(executable: &Path) -> OsString {
    let mut command = OsString::from("'");
    command.push(OsStr::new(&executable.to_string_lossy().replace('\'', r"'\''")));
    command.push("' gitssh --");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_command_as_it_is_meant() {
        for (path, expected) in
            [("/usr/bin/coder", "'/usr/bin/coder' gitssh --"), ("/it's/a b", r"'/it'\''s/a b' gitssh --")]
        {
            assert_eq!(command_line(Path::new(path)), expected);
        }
    }

    #[test]
    fn ssh_that_is_asked_about_itself_is_left_alone() {
        let off = |args: &[&str]| is_off(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(off(&["-G", "host"]) && off(&["-V"]));
        assert!(!off(&["host", "-G"]) && !off(&["-p", "22", "host"]) && !off(&[]));
    }
}
