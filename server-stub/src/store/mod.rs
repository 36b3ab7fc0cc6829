//! Everything the server knows: one interface for each domain, over one database.
//!
//! - [`Users`], [`Tokens`], [`Secrets`], [`GitKeys`], [`Keys`], [`Audit`]
//! - [`workspaces`]: [`Workspaces`], [`Agents`], [`Presence`], [`Logs`], [`Reports`]
//!
//! Each domain keeps its rules (caps, conflicts, shapes) in pure functions and its SQL in statements with typed rows. Nothing outside
//! this module sees SQL, and nothing outside `engine` sees which database it is. `engine` says where to add a column, a table or an
//! engine; all encryption at rest is in `keys`.

mod accounts;
pub mod audit;
mod backup;
mod data_dir;
mod disk_full;
mod engine;
mod generations;
mod git_keys;
mod keys;
mod macs;
mod moving;
mod outage;
mod private_file;
mod reserve;
mod rotation;
mod secrets;
mod servers;
#[cfg(test)]
mod several_tests;
mod storable;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
#[cfg(test)]
mod upgrade_tests;
mod users;
pub mod workspaces;

use std::fs::File;
use std::sync::Arc;

use jiff::{Timestamp, Unit};
use uuid::Uuid;

pub use accounts::{AccountError, Accounts};
pub use audit::Audit;
pub use backup::{BackupError, restore};
pub use data_dir::{DataDir, DataDirError};
pub use disk_full::is_disk_full;
pub use engine::{Change, ChangeStream, Copied, CopyError, DatabaseError, DatabaseUrl, Fault, Role, StoreError};
use engine::{Connection, Database, Doing, Location, command, query, row};
pub use generations::{Current, Generation};
pub use git_keys::{Algorithm, AlgorithmError, GitKeyError, GitKeys, PairError};
pub use keys::{BulkSealer, KEYS_VARIABLE, KeyError, KeyId, KeySource};
pub use macs::EndedTokens;
pub use moving::{MoveError, Moved, require_database, to_postgres, to_sqlite};
pub use outage::{Outage, outage};
pub use rotation::{Keys, RotateError, Rotated};
pub use secrets::{KeepVersions, PatternError, SecretError, Secrets, Targets};
pub use servers::Servers;
pub(crate) use storable::storable;
pub use tokens::{Kind, LONGEST_SESSION, NewToken, Session, TokenError, TokenInfo, TokenUse, Tokens, Wanted};
pub use users::{SUSPENDED, UserError, Users};
use workspaces::{Agents, Logs, Presence, Reports, Workspaces};

row! {
    struct DeploymentRow { id: Uuid, epoch: i64 }
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    database: Database,
    deployment_id: Uuid,
    // Released with the last handle: a restore replaces the file only when nothing has it open.
    _lock: Arc<File>,
}

impl Store {
    /// Opens the database of a data directory as its server does: creates or migrates it, and checks that the keys it needs are there.
    pub async fn open(data_dir: &DataDir, source: KeySource) -> Result<Self, StoreError> {
        Self::open_as(Role::Server, data_dir, None, source).await
    }

    /// Opens the database at `url`, else the one in the data directory. Only a server creates and migrates it.
    pub async fn open_as(
        role: Role,
        data_dir: &DataDir,
        url: Option<&DatabaseUrl>,
        source: KeySource,
    ) -> Result<Self, StoreError> {
        let lock = data_dir.share()?.ok_or(StoreError::Restoring)?;
        let location =
            url.map_or_else(|| Location::File(data_dir.database()), |url| Location::Url(Box::new(url.clone())));
        if let Location::File(path) = &location {
            moving::refuse_moved(path)?;
        }
        let mut opened = engine::open(&location, role).await?;
        opened.sql.begin().await.doing("begin a write")?;
        let keys = rotation::load(&mut opened.sql, source).await?;
        let active = rotation::needed(&mut opened.sql).await?.into_iter().next();
        macs::make(&mut opened.sql, &keys, active, role).await?;
        let deployment = deployment(&mut opened.sql).await?;
        opened.sql.commit().await.doing("record the encryption key id")?;
        let database = opened.start(keys, deployment.id);
        generations::settle(&database).await?;
        Ok(Self { database, deployment_id: deployment.id, _lock: Arc::new(lock) })
    }

    /// Users.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users(&self.database)
    }

    /// Session tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens(&self.database)
    }

    /// Roles, suspension and deletion of users.
    #[must_use]
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(&self.database)
    }

    /// User secrets.
    #[must_use]
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets(&self.database)
    }

    /// SSH key pairs for git.
    #[must_use]
    pub fn git_keys(&self) -> GitKeys<'_> {
        GitKeys(&self.database)
    }

    /// Workspaces and their definitions.
    #[must_use]
    pub fn workspaces(&self) -> Workspaces<'_> {
        Workspaces(&self.database)
    }

    /// Agents: who they are and what they are given.
    #[must_use]
    pub fn agents(&self) -> Agents<'_> {
        Agents(&self.database)
    }

    /// When agents were connected.
    #[must_use]
    pub fn presence(&self) -> Presence<'_> {
        Presence(&self.database)
    }

    /// Log lines of agents.
    #[must_use]
    pub fn logs(&self) -> Logs<'_> {
        Logs(&self.database)
    }

    /// What agents report of themselves.
    #[must_use]
    pub fn reports(&self) -> Reports<'_> {
        Reports(&self.database)
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit(&self.database)
    }

    /// Encryption keys.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys(&self.database)
    }

    /// The servers of the deployment.
    #[must_use]
    pub fn servers(&self) -> Servers<'_> {
        Servers(&self.database)
    }

    /// Writes that wait or are under way, and connections if there is a pool of them: all, idle.
    #[must_use]
    pub fn load(&self) -> (u64, Option<(u64, u64)>) {
        self.database.load()
    }

    /// Identifies the deployment, for as long as its database lives.
    #[must_use]
    pub fn deployment_id(&self) -> Uuid {
        self.deployment_id
    }

    /// Changes that are committed from now on, by this process and by others: see [`Change`].
    #[must_use]
    pub fn changes(&self) -> ChangeStream {
        self.database.changes()
    }

    /// Writes something that changes nothing, through to the disk: whether the database can be written.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.database
            .write(|writing| {
                Box::pin(async move {
                    let nothing = command("UPDATE deployment SET id = id");
                    writing.sql.execute(nothing).await.map(drop).doing("write to the database")
                })
            })
            .await
    }

    /// Ends every session token and agent token, of which a restored database may have some that were revoked since.
    pub async fn end_tokens(&self) -> Result<EndedTokens, StoreError> {
        self.database.write(|writing| Box::pin(macs::end_tokens(writing))).await
    }

    /// Waits until nothing can be written any more: after [`Store::close`], or because the writer broke down.
    pub async fn ended(&self) {
        self.database.ended().await;
    }

    /// Finishes waiting writes and closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// Identifies the deployment. Its first epoch begins with the first process that asks.
async fn deployment(sql: &mut Connection) -> Result<DeploymentRow, StoreError> {
    let deployment = query::<DeploymentRow>("SELECT {columns} FROM deployment");
    let mut row = sql.one(deployment).await.doing("read the deployment id")?;
    if row.epoch == 0 {
        row.epoch = generations::new_epoch()?;
        let begin = command("UPDATE deployment SET epoch = ?").bind(row.epoch);
        sql.execute(begin).await.doing("begin an epoch")?;
    }
    Ok(row)
}

/// The time, in the resolution the database keeps.
pub(crate) fn now() -> Timestamp {
    Timestamp::now().round(Unit::Microsecond).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A stored time.
fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
