//! `coder completion`, and the candidates that shells ask for at each TAB.
//!
//! The script of a shell calls this executable back with what has been typed, so names of secrets are candidates, too.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, ValueCompleter};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{PathCompleter, Shell};

use super::error::CliError;
use super::server::ServerArgs;
use super::{secret, ui};

/// The variable by which a shell's script asks. It counts only before the arguments `--`, with which no command begins: a
/// variable that a template sets must never turn another command into a completion.
const ASKED: &str = "_CODER_COMPLETE";
/// How long a person waits at TAB for names from the server.
const NAMES_LIMIT: Duration = Duration::from_secs(1);

/// Print a script that completes these commands in your shell
///
/// The script completes commands, options, the names of your secrets, and the commands that `coder exec` can run.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Bash, for you alone.
  coder completion bash > ~/.local/share/bash-completion/completions/coder

  # Zsh, in any directory of $fpath.
  coder completion zsh > ~/.zfunc/_coder

  # Fish.
  coder completion fish > ~/.config/fish/completions/coder.fish")]
pub(crate) struct CompletionArgs {
    /// Shell to print the script for
    shell: Shell,
}

impl CompletionArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let program = own_name();
        let shells = Shells::builtins();
        let mut script = Vec::new();
        if let Some(shell) = shells.completer(&self.shell.to_string()) {
            shell.write_registration(ASKED, &program, &program, &program, &mut script).map_err(CliError::output)?;
        }
        if self.shell == Shell::Zsh {
            script.extend(zsh_autoload(&program).as_bytes());
        }
        ui::print(String::from_utf8_lossy(&script).trim()).map_err(CliError::output)
    }
}

/// Completes at the first TAB, too. In a directory of `$fpath` the script is the body of a function that zsh loads at the first
/// TAB and calls; `compdef` in it counts from the next TAB on.
fn zsh_autoload(program: &str) -> String {
    let function = format!("_clap_dynamic_completer_{}", program.replace('-', "_"));
    format!("\nif (( ${{+compstate}} )); then\n    {function} \"$@\"\nfi\n")
}

/// The name by which this executable was called, which may be another than `coder`.
pub(super) fn own_name() -> String {
    let called = std::env::args_os().next();
    let name = called.as_deref().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    name.unwrap_or("coder").to_owned()
}

/// Answers a shell's script. False if no script has asked.
pub(super) fn answer(args: &[OsString]) -> bool {
    if args.get(1).is_none_or(|first| first != "--") || std::env::var_os(ASKED).is_none() {
        return false;
    }
    let asked = CompleteEnv::with_factory(with_candidates).var(ASKED);
    // A script must never print an error into the line that somebody types.
    asked.try_complete(args, std::env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// The command line with what its arguments may be.
fn with_candidates() -> clap::Command {
    let names = |command: clap::Command| command.mut_arg("name", |arg| arg.add(ArgValueCandidates::new(secret_names)));
    super::command()
        .mut_subcommand("secret", |secret| {
            ["update", "enable", "disable", "list", "history", "rollback", "delete"]
                .iter()
                .fold(secret, |secret, name| secret.mut_subcommand(name, names))
                .mut_subcommand("import", |import| {
                    import.mut_arg("file", |arg| arg.add(ArgValueCompleter::new(PathCompleter::file().stdio())))
                })
        })
        .mut_subcommand("exec", |exec| exec.mut_arg("command", |arg| arg.add(ArgValueCompleter::new(CommandLine))))
}

/// The names of the user's secrets; none where the user is not signed in or the server takes too long.
fn secret_names() -> Vec<CompletionCandidate> {
    let flags = ServerArgs::augment_args(clap::Command::new("coder")).try_get_matches_from(["coder"]);
    let Some(server) = flags.ok().and_then(|matches| ServerArgs::from_arg_matches(&matches).ok()) else {
        return Vec::new();
    };
    if !server.is_signed_in() {
        return Vec::new();
    }
    let names = super::block_on(async { Ok(tokio::time::timeout(NAMES_LIMIT, secret::names(&server)).await) });
    names.ok().and_then(Result::ok).unwrap_or_default().into_iter().map(CompletionCandidate::new).collect()
}

/// The words after `coder exec`: a command, then files.
struct CommandLine;

impl ValueCompleter for CommandLine {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        self.complete_at(0, current)
    }

    fn complete_at(&self, index: usize, current: &OsStr) -> Vec<CompletionCandidate> {
        if index > 0 || current.as_bytes().contains(&b'/') {
            return PathCompleter::any().complete(current);
        }
        commands(&std::env::var_os("PATH").unwrap_or_default(), current)
            .into_iter()
            .map(CompletionCandidate::new)
            .collect()
    }
}

/// The executables in the directories of `path` whose name starts with `prefix`.
fn commands(path: &OsStr, prefix: &OsStr) -> BTreeSet<OsString> {
    let entries = std::env::split_paths(path).filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().as_bytes().starts_with(prefix.as_bytes()));
    let is_executable =
        |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    named.filter(|entry| is_executable(&entry.path())).map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_executables_of_the_path() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("make-it", 0o755), ("make-note", 0o644), ("other", 0o755)] {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths([dir.path(), Path::new("/nonexistent")]).unwrap();
        let found = |prefix: &str| commands(&path, prefix.as_ref()).into_iter().collect::<Vec<_>>();
        assert_eq!(found("make"), ["make-it"]);
        assert_eq!(found(""), ["make-it", "other"]);
    }

    #[test]
    fn every_completed_argument_is_there() {
        with_candidates().debug_assert();
    }
}
