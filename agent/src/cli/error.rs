//! What a command can fail with: one place decides the exit code, the hint and how it looks.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use reqwest::StatusCode;

use super::client::ClientError;
use super::config_dir::ConfigDirError;
use super::server::ServerError;
use super::ui;
use crate::errors::chain;
use crate::gitssh::{FetchError, RunError};
use crate::sessions::client::ClientError as AgentError;

/// The failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Wrong before any request: the server or the session token.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Wrong before any request: what the command was given to work on.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Wrong before any request, and said by the command itself.
    #[error("{0}")]
    Usage(String),
    /// There is no such command, and another one does what was probably meant.
    #[error("there is no command {line:?}")]
    NoCommand {
        /// What was typed, such as `coder secret get`.
        line: String,
        /// What to use.
        instead: &'static str,
    },
    /// A request failed.
    #[error("{operation}")]
    Request {
        /// What it was for, such as `create secret "api-key"`.
        operation: String,
        /// Why.
        source: Box<ClientError>,
    },
    /// A change failed, or nobody knows whether it was made.
    #[error("{operation}")]
    Change {
        /// What it was for, such as `create secret "api-key"`.
        operation: String,
        /// What to do about it.
        hint: Option<String>,
        /// Why.
        source: Box<ClientError>,
    },
    /// The server cannot do what was asked, so it was not asked, or what it did was undone.
    #[error("{operation}: {reason}")]
    Unsupported {
        /// What it was for.
        operation: String,
        /// What the server lacks, and what that means for the change.
        reason: String,
    },
    /// The server refuses something that stands at a place of the input.
    #[error("{operation}: {reason}")]
    Refused {
        /// The place, such as `dev.yaml:3`.
        operation: String,
        /// Why.
        reason: String,
    },
    /// The git key could not be had.
    #[error("get your SSH key")]
    GitKey(#[source] FetchError),
    /// ssh or ssh-keygen did not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The workspace's agent did not answer as hoped.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The workspace has no variable of this name.
    #[error("no variable {0} is set in this workspace")]
    NoVariable(String),
    /// A value cannot be printed as asked.
    #[error(transparent)]
    Format(Box<dyn Error + Send + Sync>),
    /// The user said no.
    #[error("canceled")]
    Canceled,
    /// The sign-in could not be kept or removed.
    #[error(transparent)]
    Store(ConfigDirError),
    /// A standard stream failed.
    #[error("{0}")]
    Stream(&'static str, #[source] io::Error),
    /// The man pages could not be written.
    #[error("write the man pages")]
    Manual(#[source] io::Error),
    /// The runtime of the requests could not be made.
    #[error("start the runtime")]
    Runtime(#[source] io::Error),
}

/// What is wrong with the input of a command, in the command's own words.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct InputError {
    source: Box<dyn Error + Send + Sync>,
    hint: Hint,
}

impl InputError {
    /// The failure `source` of a command, and what its user can do about it.
    pub(crate) fn new(source: impl Error + Send + Sync + 'static, hint: Hint) -> Self {
        Self { source: Box::new(source), hint }
    }
}

/// What the user can do about wrong input.
#[derive(Debug)]
pub(crate) enum Hint {
    /// Look at the examples of the command.
    Examples,
    /// This, if there is something to say.
    Text(Option<&'static str>),
}

impl CliError {
    /// Wraps the failure of a request: `.map_err(CliError::request("list secrets"))`.
    pub(crate) fn request(operation: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let operation = operation.into();
        move |source| Self::Request { operation, source: Box::new(source) }
    }

    /// The failure to write to standard output.
    pub(crate) fn output(source: io::Error) -> Self {
        Self::Stream("write to standard output", source)
    }

    /// The failure to read from standard input.
    pub(crate) fn input(source: io::Error) -> Self {
        Self::Stream("read standard input", source)
    }

    /// 2 for anything wrong before the first request, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Server(_) | Self::Input(_) | Self::Usage(_) | Self::NoCommand { .. } => ExitCode::from(2),
            // As a shell does: not found, or not executable.
            Self::Run(RunError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                ExitCode::from(127)
            }
            Self::Run(RunError::Start { .. }) => ExitCode::from(126),
            Self::Run(_)
            | Self::GitKey(_)
            | Self::Request { .. }
            | Self::Change { .. }
            | Self::Unsupported { .. }
            | Self::Refused { .. }
            | Self::Agent(_)
            | Self::NoVariable(_)
            | Self::Format(_)
            | Self::Canceled
            | Self::Store(_)
            | Self::Stream(..)
            | Self::Manual(_)
            | Self::Runtime(_) => ExitCode::FAILURE,
        }
    }

    /// What the user of `command` can do about it.
    fn hint(&self, command: &str) -> Option<String> {
        match self {
            Self::Request { source, .. } => source.hint().or_else(|| match source.status()? {
                StatusCode::NOT_FOUND if command.starts_with("coder secret ") => {
                    Some("List your secrets with: coder secret list".into())
                }
                _ => None,
            }),
            Self::Change { hint, source, .. } => hint.clone().or_else(|| source.hint()),
            Self::NoCommand { instead, .. } => Some((*instead).to_owned()),
            Self::Input(InputError { hint: Hint::Text(hint), .. }) => hint.map(Into::into),
            Self::Input(InputError { hint: Hint::Examples, .. }) | Self::Usage(_) => {
                Some(format!("For examples: {command} --help"))
            }
            Self::Run(RunError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => Some(
                "Install OpenSSH's client; Debian and Fedora call the package openssh-client and openssh-clients."
                    .into(),
            ),
            Self::Agent(AgentError::NoAgent { .. }) => Some(agent_hint(command, rustix::process::geteuid().is_root())),
            _ => None,
        }
    }

    /// Tells the user about the failure of `command` (`coder secret create`): the error first, then one hint.
    pub(crate) fn report(&self, command: &str) {
        if matches!(self, Self::Canceled) {
            return ui::note("Canceled.");
        }
        ui::note(&ui::printable(&format!("error: {}", chain(self))));
        if let Some(hint) = self.hint(command) {
            ui::note(&ui::printable(&hint));
        }
    }
}

/// How `command` gets an agent to ask.
fn agent_hint(command: &str, root: bool) -> String {
    let mut hint = String::from("Start one with \"coder agent\", or the service coder-agent@USER.");
    if command == "coder exec" {
        hint.push_str(" \"coder exec --wait 30s\" waits for one that is about to start.");
    }
    if root {
        let _ = write!(hint, "\nRoot asks root's own. For another user's: runuser -u USER -- {command}");
    }
    hint
}
