//! Database files as a whole.

use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};

use super::super::error::{Doing, StoreError};
use super::options::options;

/// Writes a copy of this moment into the empty file at the absolute path `to`, while others read and write.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let action = "copy the database";
    let text = to.to_str().ok_or(StoreError::FileName { path: to.to_owned() })?;
    let mut connection = SqliteConnection::connect_with(&options(from)).await.doing(action)?;
    sqlx::query("VACUUM INTO ?").bind(text).execute(&mut connection).await.doing(action)?;
    connection.close().await.doing(action)
}

/// Empties the write-ahead log.
pub(super) async fn empty_log(path: &Path) -> Result<(), StoreError> {
    let action = "empty the write-ahead log";
    let mut connection = SqliteConnection::connect_with(&options(path)).await.doing(action)?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.doing(action)?;
    connection.close().await.doing(action)
}
