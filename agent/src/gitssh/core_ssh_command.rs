//! The `core.sshCommand` of the user. git itself would not ask for it, since `GIT_SSH_COMMAND` comes before its
//! configuration.
//!
//! Some of that configuration is for one command only (`git -c`, `git clone --config`, `GIT_CONFIG_COUNT`), and git takes
//! it away from what it starts. It is read off the git that started us.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set for the user's own command, lest one that names us calls itself for ever.
const DEFERRED: &str = "CODER_GITSSH_DEFERRED";
/// git runs us through a shell, which may stay in between.
const GENERATIONS: usize = 3;
/// More than the kernel takes for arguments or variables.
const MAX_BLOCK: u64 = 8 * 1024 * 1024;
/// Options before git's command whose value is the next argument.
const WITH_VALUE: [&str; 8] =
    ["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--super-prefix", "--attr-source"];
/// What git removes from our environment and `git config` needs.
const REMOVED: [&str; 3] = ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_DIR"];

/// What the user has configured git to run instead of ssh, with these arguments. None where no git has started
/// us.
#[must_use]
pub fn core_ssh_command(args: &[OsString]) -> Option<Command> {
    if std::env::var_os(DEFERRED).is_some() {
        return None;
    }
    let output = Git::that_started_us()?.question().stdin(Stdio::null()).stderr(Stdio::null()).output();
    let command = OsString::from_vec(output.ok()?.stdout.trim_ascii().to_vec());
    if command.is_empty() {
        return None;
    }
    // As git itself runs it.
    let mut script = command.clone();
    script.push(" \"$@\"");
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).arg(command).args(args).env(DEFERRED, "1");
    Some(shell)
}

/// A running git.
struct Git {
    args: Vec<OsString>,
    variables: Vec<OsString>,
}

impl Git {
    fn that_started_us() -> Option<Self> {
        let mut next = std::os::unix::process::parent_id();
        for _ in 0..GENERATIONS {
            let process = Path::new("/proc").join(next.to_string());
            let args = block(&process.join("cmdline"));
            let name = args.first().and_then(|program| Path::new(program).file_name());
            // `git-lfs` runs ssh as git does.
            if name.is_some_and(|name| name.as_bytes().starts_with(b"git")) {
                return Some(Self { args, variables: block(&process.join("environ")) });
            }
            next = parent(&process)?;
        }
        None
    }

    /// `git config` with the configuration that this git has.
    fn question(&self) -> Command {
        let mut git = Command::new("git");
        for variable in &self.variables {
            let (name, value) = split(variable);
            if REMOVED.iter().any(|removed| name == *removed) {
                git.env(name, value);
            }
        }
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-c" | "--config") => drop(args.next().map(|setting| git.arg("-c").arg(setting))),
                Some("--git-dir") => drop(args.next().map(|path| git.env("GIT_DIR", path))),
                Some(arg) => {
                    arg.strip_prefix("--config=").map(|setting| git.args(["-c", setting]));
                    arg.strip_prefix("--git-dir=").map(|path| git.env("GIT_DIR", path));
                }
                None => {}
            }
        }
        // The repository it is called in is none of a clone's business.
        if self.command().is_some_and(|command| command == "clone") {
            git.env("GIT_DIR", "/dev/null");
        }
        git.args(["config", "--get", "core.sshCommand"]);
        git
    }

    /// Its command, such as `fetch`.
    fn command(&self) -> Option<&OsStr> {
        let mut args = self.args.iter().skip(1);
        while let Some(arg) = args.next() {
            if WITH_VALUE.iter().any(|option| arg == option) {
                args.next();
            } else if !arg.as_bytes().starts_with(b"-") {
                return Some(arg);
            }
        }
        None
    }
}

/// `NAME=value`
fn split(variable: &OsStr) -> (&OsStr, &OsStr) {
    let bytes = variable.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    (OsStr::from_bytes(&bytes[..equals]), OsStr::from_bytes(bytes.get(equals + 1..).unwrap_or_default()))
}

/// Strings that each end with a null byte; none of a process that is another user's.
fn block(path: &Path) -> Vec<OsString> {
    let mut bytes = Vec::new();
    if File::open(path).and_then(|file| file.take(MAX_BLOCK).read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    bytes
        .strip_suffix(b"\0")
        .unwrap_or(&bytes)
        .split(|byte| *byte == 0)
        .map(|it| OsStr::from_bytes(it).into())
        .collect()
}

fn parent(process: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(args: &[&str], variables: &[&str]) -> Git {
        let own = |words: &[&str]| words.iter().map(OsString::from).collect();
        Git { args: own(args), variables: own(variables) }
    }

    fn words(command: &Command) -> Vec<String> {
        command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    fn directory(command: &Command) -> Option<&OsStr> {
        command.get_envs().find(|(name, _)| *name == "GIT_DIR")?.1
    }

    #[test]
    fn settings_of_one_command_count() {
        let asked = ["config", "--get", "core.sshCommand"];
        for args in [
            &["git", "-c", "a=b", "fetch"][..],
            &["git", "clone", "-c", "a=b", "url"],
            &["git", "clone", "--config", "a=b", "url"],
            &["git", "clone", "--config=a=b", "url"],
        ] {
            assert_eq!(words(&git(args, &[]).question()), [&["-c", "a=b"], &asked[..]].concat(), "{args:?}");
        }
        let other = git(&["git", "fetch"], &["HOME=/h", "GIT_CONFIG_COUNT=1", "GIT_DIR=/d", "GIT_CONFIG_COUNT_X=2"]);
        let command = other.question();
        let variables: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(variables, ["GIT_CONFIG_COUNT", "GIT_DIR"]);
    }

    #[test]
    fn the_repository_is_the_one_git_works_on() {
        assert_eq!(directory(&git(&["git", "--git-dir", "/x", "fetch"], &[]).question()).unwrap(), "/x");
        assert_eq!(directory(&git(&["git", "--git-dir=/x", "fetch"], &["GIT_DIR=/y"]).question()).unwrap(), "/x");
        assert_eq!(directory(&git(&["git", "fetch", "clone"], &[]).question()), None);
        for args in [&["git", "clone", "url"][..], &["git", "-C", "fetch", "-c", "a=b", "--bare", "clone", "url"]] {
            assert_eq!(directory(&git(args, &[]).question()).unwrap(), "/dev/null", "{args:?}");
        }
    }
}
