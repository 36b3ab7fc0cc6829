use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::config::{self, AgentArgs, Config, ConfigError, PRIVATE_VARIABLES};
use crate::environment::Interpreter;
use crate::errors::chain;
use crate::network::{Network, ProxyError};
use crate::sessions::place;
use crate::sys::users::{self, Account, UserError};
use crate::sys::{private_dir, process, threads};

use super::logging::{self, LogError};

/// Where systemd makes directories for the logs of a unit (`LogsDirectory=`).
const LOGS_VARIABLE: &str = "LOGS_DIRECTORY";
/// How long the start waits for a disk. A home on a network may hang.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// What the agent knows before it makes its first request; all of it is found while there is a single thread.
pub(super) struct Prepared {
    pub(super) config: Config,
    pub(super) network: Network,
    pub(super) process: ProcessContext,
}

/// What the agent found about its own process.
pub(super) struct ProcessContext {
    /// The environment it was started with, without what is the agent's alone; with the home and names of the user it became.
    pub(super) inherited: Vec<(OsString, OsString)>,
    /// What `~` stands for.
    pub(super) home: Option<PathBuf>,
    /// Where the ledger is; `None` where there is no home for it.
    pub(super) state_dir: Option<PathBuf>,
    /// Where no secret may go: the agent's configuration and its state.
    pub(super) own_directories: Vec<PathBuf>,
    /// Directory of the agent's log and of script logs.
    pub(super) log_dir: PathBuf,
    /// Runs scripts.
    pub(super) shell: PathBuf,
    /// The shells whose start no variable may prevent.
    pub(super) shells: Vec<Interpreter>,
    /// Whom it runs as; `None` where the passwd database has no entry, as for arbitrary ids in containers.
    pub(super) account: Option<Account>,
}

/// Wrong before the first request.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(
        "the agent would run everything as root: name the workspace's user with --user, or allow it with --allow-root"
    )]
    Root,
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Prepared {
    /// Reads the configuration, becomes the user, wipes the token from this process's environment, and opens the log.
    pub(super) fn prepare(args: AgentArgs) -> Result<Self, StartError> {
        process::survive_file_size_limit();
        let mut inherited: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let config = Config::load(args, &inherited)?;
        let logs = variable(&inherited, LOGS_VARIABLE).and_then(first_path);
        inherited.retain(|(name, _)| name != LOGS_VARIABLE && PRIVATE_VARIABLES.iter().all(|private| name != private));
        let wiped = PRIVATE_VARIABLES.iter().try_for_each(|name| process::take_variable(name).map(drop));
        let (account, unknown) = become_user(&config)?;
        if let (Some(_), Some(account)) = (&config.user, &account) {
            overwrite(&mut inherited, account);
        }
        let hardened = process::harden();
        let home = users::home(variable(&inherited, "HOME").map(OsStr::to_owned), account.as_ref());
        let state_home = variable(&inherited, "XDG_STATE_HOME").map(Path::new);
        let state_dir = config.state_dir.clone().or_else(|| state_dir(state_home, home.as_deref()));
        let own_directories = own_directories(&config, state_dir.as_deref(), home.as_deref(), &inherited);
        let shell = shell(account.as_ref(), variable(&inherited, "SHELL"));
        // A dry run makes no directories.
        let places = if config.dry_run { (None, None) } else { (logs, state_dir.clone()) };
        let log_dir = config.log_dir.clone().unwrap_or_else(|| log_dir(places.0, places.1));
        logging::init(&log_dir, config.log_levels.as_deref(), !config.command.is_empty())?;
        if let Err(error) = wiped.and(hardened) {
            tracing::warn!(%error, "other processes of the same user may read the agent's token from this one");
        }
        if let Some(error) = unknown {
            tracing::warn!("{}: going on as a user without a passwd entry, by $HOME and $SHELL alone", chain(&error));
        }
        // The header command runs as the user that the agent has become.
        let network = Network::new(config.url.clone(), config.network.clone(), &inherited)?;
        let shells = Interpreter::of_workspace(&shell);
        let process = ProcessContext { inherited, home, state_dir, own_directories, log_dir, shell, shells, account };
        Ok(Self { config, network, process })
    }
}

impl ProcessContext {
    /// Where the agent may keep what scripts make, the best first.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        self.state_dir.clone().into_iter().chain([temporary_dir()]).collect()
    }

    /// Says so where nothing can be written below `~`, as in an image that names a user without making it. Looks on a
    /// thread of its own: the home may be on a network.
    pub(super) fn warn_of_home(&self) {
        let Some(home) = self.home.clone() else { return };
        threads::start(move || {
            // A home that is missing is made with the first file.
            if let Err(Errno::ACCESS | Errno::ROFS) = rustix::fs::access(&home, Access::WRITE_OK | Access::EXEC_OK) {
                let uid = nix::unistd::geteuid();
                tracing::warn!("HOME is {home:?}, which uid {uid} cannot write: files below ~ will fail");
            }
        });
    }
}

/// The unit's `LogsDirectory=`, else where the user keeps state, else a private directory among temporary files: one that
/// can be written to. What is on a disk that does not answer cannot.
fn log_dir(of_unit: Option<PathBuf>, state_dir: Option<PathBuf>) -> PathBuf {
    let places: Vec<PathBuf> = of_unit.into_iter().chain(state_dir).collect();
    let usable = move || places.into_iter().find(|place| private_dir::make_writable(place).is_ok());
    threads::run_within(DISK_PATIENCE, usable).flatten().unwrap_or_else(temporary_dir)
}

fn temporary_dir() -> PathBuf {
    std::env::temp_dir().join(format!("coder-agent-{}", nix::unistd::geteuid()))
}

/// Of a list as in `PATH`: a unit may name several directories.
fn first_path(list: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(list).next().filter(|path| path.is_absolute())
}

/// The account the agent runs as from now on; `None` where the passwd database does not know it, or cannot be read.
fn become_user(config: &Config) -> Result<(Option<Account>, Option<UserError>), StartError> {
    match &config.user {
        Some(user) => {
            let account = Account::find(user)?;
            if config.socket.is_none() && !config.dry_run && nix::unistd::geteuid().is_root() {
                place::prepare(&account);
            }
            account.take_on()?;
            Ok((Some(account), None))
        }
        None if nix::unistd::geteuid().is_root() && !config.allow_root => Err(StartError::Root),
        None => Ok(Account::current().map_or_else(|error| (None, Some(error)), |account| (account, None))),
    }
}

fn overwrite(variables: &mut Vec<(OsString, OsString)>, account: &Account) {
    let own: [(&str, OsString); 4] = [
        ("HOME", account.home.clone().into()),
        ("USER", account.name.clone().into()),
        ("LOGNAME", account.name.clone().into()),
        ("SHELL", account.shell.clone().into()),
    ];
    // Where the user before kept state is not where this one does.
    variables.retain(|(name, _)| name != "XDG_STATE_HOME" && own.iter().all(|(own, _)| name != own));
    variables.extend(own.map(|(name, value)| (name.into(), value)));
}

fn variable<'v>(variables: &'v [(OsString, OsString)], name: &str) -> Option<&'v OsStr> {
    variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
}

/// As the XDG Base Directory Specification has it, where a relative path counts for nothing.
fn state_dir(state_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    let state_home = state_home.filter(|path| path.is_absolute()).map(Path::to_owned);
    Some(state_home.or_else(|| Some(home?.join(".local/state")))?.join("coder-agent"))
}

/// The configuration of the machine and of the user, a file that was named instead, and the state.
fn own_directories(
    config: &Config,
    state_dir: Option<&Path>,
    home: Option<&Path>,
    inherited: &[(OsString, OsString)],
) -> Vec<PathBuf> {
    let config_home = variable(inherited, "XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config_home = config_home.or_else(|| Some(home?.join(".config")));
    let directories = [
        Some(config::DIRECTORY.into()),
        Some(config.config_file.clone()),
        state_dir.map(Path::to_owned),
        config_home.map(|path| path.join("coder-agent")),
    ];
    directories.into_iter().flatten().collect()
}

/// The login shell of the account, else `$SHELL`, else `/bin/sh`. Service accounts have a login shell that only says no.
fn shell(account: Option<&Account>, variable: Option<&OsStr>) -> PathBuf {
    let login = account.map(|account| account.shell.clone());
    let named = variable.map(PathBuf::from);
    let usable = |shell: &PathBuf| {
        let name = shell.file_name().and_then(OsStr::to_str).unwrap_or_default();
        shell.is_absolute() && !matches!(name, "nologin" | "false" | "true" | "sync") && shell.exists()
    };
    login.into_iter().chain(named).find(usable).unwrap_or_else(|| "/bin/sh".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(shell: &str) -> Account {
        Account { uid: 1, gid: 1, name: "alice".into(), home: "/home/alice".into(), shell: shell.into() }
    }

    #[test]
    fn the_shell_is_the_accounts_then_the_variables_then_sh() {
        for (login, variable, expected) in [
            (Some("/bin/sh"), Some("/bin/bash"), "/bin/sh"),
            (Some("/usr/sbin/nologin"), Some("/bin/bash"), "/bin/bash"),
            (Some("/nonexistent/zsh"), Some("bash"), "/bin/sh"),
            (None, Some("/bin/bash"), "/bin/bash"),
            (None, None, "/bin/sh"),
        ] {
            let account = login.map(account);
            assert_eq!(shell(account.as_ref(), variable.map(OsStr::new)), PathBuf::from(expected));
        }
    }

    #[test]
    fn state_is_where_the_user_keeps_it() {
        let dir = |state: &str, home: Option<&str>| state_dir(Some(Path::new(state)), home.map(Path::new));
        assert_eq!(dir("/s", Some("/h")), Some("/s/coder-agent".into()));
        assert_eq!(dir("s", Some("/h")), Some("/h/.local/state/coder-agent".into()));
        assert_eq!(dir("", None), None);
        assert_eq!(state_dir(None, Some(Path::new("/h"))), dir("", Some("/h")));
    }

    #[test]
    fn logs_are_where_the_unit_says_then_with_the_state_then_among_temporary_files() {
        let dir = tempfile::tempdir().unwrap();
        let (unit, state) = (dir.path().join("unit"), dir.path().join("state"));
        assert_eq!(log_dir(Some(unit.clone()), Some(state.clone())), unit);
        assert_eq!(log_dir(Some("/proc/none".into()), Some(state.clone())), state);
        assert_eq!(log_dir(None, Some("/proc/none".into())), temporary_dir());
        assert_eq!(log_dir(None, None), temporary_dir());
        assert_eq!(first_path(OsStr::new("/a:/b")), Some("/a".into()));
        assert_eq!(first_path(OsStr::new("a")).or(first_path(OsStr::new(""))), None);
    }

    #[test]
    fn the_variables_of_the_user_that_was_left_are_replaced() {
        let mut variables: Vec<(OsString, OsString)> =
            [("HOME", "/root"), ("LANG", "C"), ("USER", "root"), ("XDG_STATE_HOME", "/root/s")]
                .map(|(n, v)| (n.into(), v.into()))
                .into();
        overwrite(&mut variables, &account("/bin/sh"));
        for (name, value) in
            [("HOME", "/home/alice"), ("USER", "alice"), ("LOGNAME", "alice"), ("SHELL", "/bin/sh"), ("LANG", "C")]
        {
            assert_eq!(variable(&variables, name), Some(OsStr::new(value)), "{name}");
        }
        assert_eq!(variables.len(), 5);
    }
}
