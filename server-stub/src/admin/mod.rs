//! The administrator's commands. They work on the database itself, also while the server runs.

mod audit;
mod backup;
mod keys;
mod moving;
mod output;
mod restore;
mod token;
mod user;
mod workspace;

pub use audit::AuditArgs;
pub use backup::BackupArgs;
pub use keys::KeysCommand;
pub use moving::{MoveArgs, UsageError};
pub use restore::RestoreArgs;
pub use token::TokenCommand;
pub use user::UserCommand;
pub use workspace::{DefinitionError, WorkspaceCommand};

use std::io;

use clap::Subcommand;

use crate::config::{ConfigError, Environment, OpenError, StoreArgs};
use crate::store::{AccountError, BackupError, DataDir, MoveError, RotateError, StoreError, TokenError, UserError};

/// The commands of an administrator.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage session tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Manage workspaces
    #[command(subcommand)]
    Workspace(WorkspaceCommand),
    /// Manage encryption keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print the audit log, newest record last
    #[command(after_help = "\
Examples:
  coder-server audit --limit 20
  coder-server audit --limit 1000 --json | jq -r '.[] | select(.actor_name == \"alice\")'")]
    Audit(AuditArgs),
    /// Write a consistent copy of the database to a new file; the server may run meanwhile
    #[command(after_help = "\
Examples:
  coder-server backup /backups/coder-$(date +%F).db

  # The backup holds no keys. Copy them to another place.
  cp /var/lib/coder-server/encryption.key /keys/")]
    Backup(BackupArgs),
    /// Replace the database with a backup; stop the server first
    #[command(after_help = "\
Examples:
  coder-server restore /backups/coder-2026-11-30.db --encryption-key-file /keys/encryption.key")]
    Restore(RestoreArgs),
    /// Move everything from SQLite to an empty PostgreSQL database, or back; all servers must be stopped
    #[command(name = "move")]
    Move(MoveArgs),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A user.
    #[error(transparent)]
    User(#[from] UserError),
    /// Roles, suspension and deletion of a user.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A token was not made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no token of that id.
    #[error("there is no token {0}; see: coder-server token list")]
    NoToken(String),
    /// There is no workspace of that name.
    #[error("there is no workspace {0}, spelled OWNER/NAME; see: coder-server workspace list")]
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
    /// The store would not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A move between databases.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A move that makes no sense.
    #[error(transparent)]
    Way(#[from] UsageError),
    /// Nobody reads what we print.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

impl AdminError {
    /// Whether the command line itself is to blame.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::User(UserError::Name(_)) | Self::Config(_) | Self::Open(_) | Self::Definition(_) | Self::Way(_)
        )
    }
}

/// On a full disk, takes the room that is kept for this.
fn make_room(data_dir: &DataDir) {
    match data_dir.give_up_reserve() {
        Ok(false) => {}
        Ok(true) => {
            tracing::warn!(dir = %data_dir.path().display(), "the disk is full; using the last room, kept for this");
        }
        Err(error) => tracing::warn!(%error, dir = %data_dir.path().display(), "cannot make room on the disk"),
    }
}

/// Runs one command.
pub(crate) async fn execute(
    command: AdminCommand,
    args: &StoreArgs,
    environment: Environment<'_>,
) -> Result<(), AdminError> {
    // These must not open the store that they replace.
    let command = match command {
        AdminCommand::Restore(restore) => return restore::run(&restore, args, environment).await,
        AdminCommand::Move(way) => return moving::run(&way, args, environment).await,
        other => other,
    };
    let data_dir = args.existing_data_dir(environment)?;
    if !matches!(command, AdminCommand::Audit(_) | AdminCommand::Backup(_)) {
        make_room(&data_dir);
    }
    let store = args.open(&data_dir, environment).await?;
    let result = match command {
        AdminCommand::User(command) => user::run(&store, command, environment).await,
        AdminCommand::Token(command) => token::run(&store, command).await,
        AdminCommand::Workspace(command) => workspace::run(&store, command).await,
        AdminCommand::Keys(command) => keys::run(&store, &data_dir, command).await,
        AdminCommand::Audit(args) => audit::run(&store, &args).await,
        AdminCommand::Backup(args) => backup::run(&store, &args).await,
        // Above.
        AdminCommand::Restore(_) | AdminCommand::Move(_) => Ok(()),
    };
    store.close().await;
    result
}
