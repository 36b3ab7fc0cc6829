//! What a session is given, from the agent or, where it cannot be had, without it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::secret::Secret;

use super::refused_names;
use super::target::ORIGINAL_COMMAND;
use crate::cli::ui;
use crate::environment::{Interpreter, LAUNCH_VARIABLE, Origin, SESSION_MARKER, Variable};
use crate::errors::chain;
use crate::sessions::client::{Client, ClientError};
use crate::sessions::login::Login;
use crate::sessions::{Caller, Launch};

/// Longest wait for an agent, or for a workspace that is still starting: then the user gets in without.
const WAIT: Duration = Duration::from_secs(10);
/// How long an agent may be silent beyond that: one that hangs must not keep anybody out.
const PATIENCE: Duration = Duration::from_secs(2);

/// Set by the shells between sshd and us, and not by sshd: the session's shell starts to count anew.
const OF_SHELLS: [&str; 4] = ["_", "SHLVL", "PWD", "OLDPWD"];

/// What a session starts with.
pub(super) struct Prepared {
    pub(super) variables: Vec<(OsString, Secret)>,
    pub(super) directory: Option<PathBuf>,
    pub(super) motd: PathBuf,
    /// What is not as it should be.
    pub(super) complaints: Vec<String>,
}

impl Prepared {
    /// Asks the agent. A command that a key is restricted to is told the client's own, as by sshd.
    pub(super) fn new(login: &Login, tell_original_command: bool) -> Self {
        // sshd and the agent start side by side, so an agent that is not there yet is waited for as well.
        let client = Client::new(ui::waiting).waits_for_an_agent().silence(PATIENCE);
        match client.resolve(Caller::Session, WAIT) {
            Ok(launch) => Self::with(launch, login, tell_original_command),
            Err(error) => Self::without(&error, tell_original_command),
        }
    }

    fn with(mut launch: Launch, login: &Login, tell_original_command: bool) -> Self {
        let degraded = launch.degraded.map(|reason| format!("the workspace is not as it should be: {reason}"));
        let refused = leave_out_refused(&mut launch.variables, login);
        let passed = |name: &OsStr, origin: Origin| match origin {
            Origin::Inherited | Origin::Caller => !is_of_shells(name),
            _ => tell_original_command || name != ORIGINAL_COMMAND,
        };
        let variables = launch.variables.into_iter().filter(|it| passed(&it.name, it.origin));
        Self {
            variables: variables.map(|it| (it.name, it.value)).collect(),
            directory: Some(launch.directory),
            motd: launch.motd,
            complaints: degraded.into_iter().chain(launch.left_out).chain(refused).collect(),
        }
    }

    fn without(error: &ClientError, tell_original_command: bool) -> Self {
        let passed = |name: &OsStr| !is_of_shells(name) && (tell_original_command || name != ORIGINAL_COMMAND);
        let own = std::env::vars_os().filter(|(name, _)| passed(name) && name != LAUNCH_VARIABLE);
        let marker = (LAUNCH_VARIABLE.into(), SESSION_MARKER.into());
        Self {
            variables: own
                .chain([marker])
                .map(|(name, value)| (name, Secret::new(OsString::into_vec(value))))
                .collect(),
            directory: None,
            motd: PathBuf::new(),
            complaints: vec![format!("this session has no secrets: {}", chain(error))],
        }
    }
}

/// Takes out what the login shell would not start with, and says what that was.
fn leave_out_refused(variables: &mut Vec<Variable>, login: &Login) -> Vec<String> {
    let shells = Interpreter::of_workspace(&login.shell);
    let mut complaints = Vec::new();
    variables.retain(|it| {
        let is_ours = matches!(it.origin, Origin::Template | Origin::Secret);
        let refuser = is_ours.then(|| refused_names::refuser(&shells, it)).flatten();
        let complaint = |shell: &Path| {
            format!("variable {} is left out: {} may not start with it", it.name.display(), shell.display())
        };
        complaints.extend(refuser.map(complaint));
        refuser.is_none()
    });
    complaints
}

fn is_of_shells(name: &OsStr) -> bool {
    OF_SHELLS.iter().any(|it| name == *it)
}
