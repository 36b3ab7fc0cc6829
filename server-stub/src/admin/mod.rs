//! The administrator's commands. They work on the database itself, also while the server runs.

mod audit;
mod backup;
mod keys;
mod output;
mod restore;
mod token;
mod user;
mod workspace;

pub use audit::AuditArgs;
pub use backup::BackupArgs;
pub use keys::KeysCommand;
pub use restore::RestoreArgs;
pub use token::TokenCommand;
pub use user::UserCommand;
pub use workspace::{DefinitionError, WorkspaceCommand};

use std::io;

use crate::config::{Command, ConfigError, Environment, StoreArgs};
use crate::run::RunError;
use crate::store::{BackupError, RotateError, StoreError, UserError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no token of that id.
    #[error("there is no token {0}; see: coder-server token list")]
    NoToken(String),
    /// There is no workspace of that name.
    #[error("there is no workspace {0}, spelt OWNER/NAME; see: coder-server workspace list")]
    NoWorkspace(String),
    /// A workspace definition.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Key rotation.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// Flags, variables or the data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Nobody reads what we print.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl AdminError {
    /// Whether the command line itself is to blame.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::User(UserError::Name(_)) | Self::Config(_) | Self::Definition(_))
    }
}

/// Runs any command but `serve`.
pub(crate) async fn execute(command: Command, args: &StoreArgs, environment: Environment<'_>) -> Result<(), RunError> {
    if let Command::Restore(restore) = command {
        return Ok(restore::run(&restore, args, environment).await?);
    }
    let data_dir = args.data_dir()?;
    let store = args.open(environment).await?;
    let result = match command {
        Command::User(command) => user::run(&store, command, environment).await,
        Command::Token(command) => token::run(&store, command).await,
        Command::Workspace(command) => workspace::run(&store, command).await,
        Command::Keys(command) => keys::run(&store, &data_dir, command).await,
        Command::Audit(args) => audit::run(&store, &args).await,
        Command::Backup(args) => backup::run(&store, &args).await,
        // Handled by others.
        Command::Serve(_) | Command::Restore(_) => Ok(()),
    };
    store.close().await;
    Ok(result?)
}
