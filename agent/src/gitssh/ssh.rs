//! ssh as git runs it, with the key at its side where that helps.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::choice::{self, Choice, Found};
use super::key::PublicKey;
use super::run::{self, Ended, RunError};
use crate::sessions::client::Client;
use crate::sys::users::Account;

/// Variable that turns everything here off.
const SWITCH: &str = "CODER_GITSSH";
/// Longest wait for ssh to print its configuration, which runs commands of `Match exec`.
const CONFIG_LIMIT: Duration = Duration::from_secs(5);
/// Most of it that is read; it is some 5 KiB.
const MAX_CONFIG: u64 = 256 * 1024;
/// Most of a file that may be a public key.
const MAX_PUBLIC: u64 = 16 * 1024;

/// ssh with these arguments and without us.
#[must_use]
pub fn plain(args: &[OsString]) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args(args);
    ssh
}

/// Whether the user has turned us off.
#[must_use]
pub fn is_off() -> bool {
    std::env::var_os(SWITCH).is_some_and(|value| value.eq_ignore_ascii_case("off"))
}

/// Whether ssh is only asked about itself, as git does to learn which ssh it has (`-G`).
#[must_use]
pub fn is_question(args: &[OsString]) -> bool {
    args.first().is_some_and(|first| ["-G", "-V", "-Q"].iter().any(|flag| first == flag))
}

/// Runs ssh with the key offered to it after the keys of the user's own agent, unless ssh's configuration names others.
pub async fn with_key(args: &[OsString], client: Client) -> Result<Ended, RunError> {
    run::run(plain(args), choose(args), client).await
}

/// What ssh itself says about these arguments. Where it says nothing it will fail by itself, and better than we could.
async fn choose(args: &[OsString]) -> Choice {
    let config = tokio::time::timeout(CONFIG_LIMIT, configuration(args)).await.ok().flatten().unwrap_or_default();
    // ssh's `~` is the account's home, whatever HOME says.
    let home = Account::current().ok().flatten().map(|account| account.home).unwrap_or_default();
    choice::choose(&config, &home, look)
}

/// What ssh would find there, as far as it matters to us.
fn look(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Err(_) => return Found::Nothing,
        // What a pipe holds can be read once, and that is for ssh.
        Ok(metadata) if !metadata.is_file() => return Found::Other,
        Ok(_) => {}
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PUBLIC).read_to_string(&mut text));
    let key = read.ok().and_then(|_| text.lines().find_map(|line| PublicKey::parse(line).ok()));
    key.map_or(Found::Other, Found::Public)
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
        let asked = |args: &[&str]| is_question(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asked(&["-G", "host"]) && asked(&["-V"]));
        assert!(!asked(&["host", "-G"]) && !asked(&["-p", "22", "host"]) && !asked(&[]));
    }
}
