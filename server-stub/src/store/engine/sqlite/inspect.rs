//! Looking at database files that nobody serves.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection as _, Row as _, SqliteConnection};

use super::super::connection::Connection;
use super::super::error::{Doing, StoreError};
use super::super::{Role, migrations};
use super::options::options;
use super::schema;

/// A file that was looked at.
pub(in crate::store) struct Inspected {
    /// What is wrong with it, if anything is.
    pub(in crate::store) damage: Option<String>,
    /// Reads from it.
    pub(in crate::store) sql: Connection,
}

/// Opens a database file that nobody writes, without leaving files beside it. `named` is what messages call it.
pub(in crate::store) async fn inspect(path: &Path, named: &Path) -> Result<Inspected, StoreError> {
    let open = |source: sqlx::Error| StoreError::Open { path: named.to_owned(), source: source.into() };
    let read_only = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut connection = read_only.disable_statement_logging().connect().await.map_err(open)?;
    let found = schema::version(&mut connection, named).await?;
    migrations::check(found, &named.display().to_string(), Role::Server)?;
    let found =
        sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await.doing("check the database")?;
    let found: String = found.try_get(0).doing("check the database")?;
    Ok(Inspected { damage: (found != "ok").then_some(found), sql: connection.into() })
}

/// Makes whoever opens this copy next begin an epoch. Leaves no files beside it.
pub(in crate::store) async fn end_epoch(path: &Path) -> Result<(), StoreError> {
    let action = "end the epoch of the backup";
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Delete);
    let mut connection = options.disable_statement_logging().connect().await.doing(action)?;
    let known = "SELECT 1 FROM pragma_table_info('deployment') WHERE name = 'epoch'";
    // An older schema has no epoch: its migration leaves none begun.
    if sqlx::query(known).fetch_optional(&mut connection).await.doing(action)?.is_some() {
        sqlx::query("UPDATE deployment SET epoch = 0").execute(&mut connection).await.doing(action)?;
    }
    connection.close().await.doing(action)
}

/// Whether a database file has users. One that cannot be read counts as if it had: it may be what somebody wants to mend.
pub(in crate::store) async fn has_users(path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let Ok(mut connection) = SqliteConnection::connect_with(&options(path)).await else { return true };
    let found = sqlx::query("SELECT 1 FROM users LIMIT 1").fetch_optional(&mut connection).await;
    drop(connection.close().await);
    found.map_or(true, |row| row.is_some())
}
