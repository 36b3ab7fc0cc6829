//! Moving everything from SQLite to PostgreSQL, or back. Keys stay where they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::backup::{BackupError, put_away, put_in_place, with_suffix};
use super::engine::{self, Copied, CopyError, DatabaseUrl, Way, sqlite};
use super::servers::LEASE;
use super::{DataDir, DataDirError, StoreError, now};

/// The old file, once its content is elsewhere.
const MOVED: &str = ".moved";

/// What became of a file.
#[derive(Debug)]
pub struct Moved {
    /// What was copied.
    pub copied: Copied,
    /// Where the old file is.
    pub kept: PathBuf,
}

/// Why nothing was moved. The old database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// A file.
    #[error(transparent)]
    File(#[from] BackupError),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A database or its keys.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is a database already.
    #[error("{} has users already; move it away, or give another --data-dir", .0.display())]
    NotEmpty(PathBuf),
}

/// Copies the database of a data directory into an empty PostgreSQL database, which is the server's from then on.
pub async fn to_postgres(data_dir: &DataDir, url: &DatabaseUrl) -> Result<Moved, MoveError> {
    let database = data_dir.database();
    let locks = lock(data_dir)?;
    let copied = engine::copy(Way::ToPostgres(&database, url), alive_since()).await?;
    put_away(&database, MOVED)?;
    drop(locks);
    Ok(Moved { copied, kept: with_suffix(&database, MOVED) })
}

/// Copies a PostgreSQL database into the data directory, whose server uses the file from then on.
pub async fn to_sqlite(data_dir: &DataDir, url: &DatabaseUrl) -> Result<Copied, MoveError> {
    let database = data_dir.database();
    let locks = lock(data_dir)?;
    if sqlite::has_users(&database).await {
        return Err(MoveError::NotEmpty(database));
    }
    let fresh = with_suffix(&database, ".moving");
    remove(&fresh);
    let copied = engine::copy(Way::ToSqlite(url, &fresh), alive_since()).await;
    if copied.is_err() {
        remove(&fresh);
    }
    let copied = copied?;
    put_in_place(&fresh, &database)?;
    drop(locks);
    Ok(copied)
}

/// Fails if the data directory at `path` has no database of a server.
pub fn require_database(path: &Path) -> Result<(), StoreError> {
    let database = DataDir::database_in(path);
    refuse_moved(&database)?;
    match database.try_exists() {
        Ok(false) => Err(StoreError::NoServer { place: path.display().to_string() }),
        // Whatever keeps it from being seen has a message of its own.
        Ok(true) | Err(_) => Ok(()),
    }
}

/// A server of an old file would begin a deployment of its own.
pub(super) fn refuse_moved(database: &Path) -> Result<(), StoreError> {
    let kept = with_suffix(database, MOVED);
    if database.exists() || !kept.exists() { Ok(()) } else { Err(StoreError::Moved { kept }) }
}

fn alive_since() -> i64 {
    now().as_microsecond().saturating_sub(LEASE)
}

/// Left by a move that was killed, or failed.
fn remove(fresh: &Path) {
    for part in ["", "-wal", "-shm"] {
        drop(fs::remove_file(with_suffix(fresh, part)));
    }
}

/// While these are held, no other process uses the data directory.
fn lock(data_dir: &DataDir) -> Result<[File; 2], MoveError> {
    let serving = data_dir.serve()?.map_err(BackupError::Serving)?;
    Ok([serving, data_dir.seize()?.ok_or(BackupError::InUse)?])
}
