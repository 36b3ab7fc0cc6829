//! Everything the server knows, in one SQLite database: all SQL and all encryption at rest live here.

pub mod audit;
mod backup;
mod data_dir;
mod disk_full;
mod error;
mod git_keys;
mod key;
mod key_file;
mod keyring;
mod probe;
mod rotation;
mod schema;
mod secrets;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod users;
pub mod workspaces;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::{Timestamp, Unit};
use protocol::secret::Secret;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection, Row, SqliteConnection, SqlitePool};

pub use backup::{BackupError, restore};
pub use data_dir::{DataDir, DataDirError};
pub use disk_full::is_disk_full;
pub(crate) use error::Doing;
pub use error::StoreError;
pub use git_keys::{Algorithm, AlgorithmError, GitKeyError, PairError};
pub(crate) use key::random;
pub use key::{KEYS_VARIABLE, KeyError, KeyId, KeySource};
pub use keyring::{Keyring, Place, Sealed};
pub use rotation::{RotateError, Rotated};
pub use secrets::{FilePaths, SecretError};
pub use tokens::{NewToken, Session, TokenInfo, TokenUse};
pub use users::UserError;
pub use writer::Writing;

/// Connections that read. Each is a thread of its own; two cores are busy long before four readers wait for the disk.
const READERS: u32 = 4;
/// Longest wait for a reader: as long as an agent waits for an answer, because ten thousand that boot together are to wait their turn,
/// not to be refused. The library would warn of each wait of two seconds.
const READER_TIMEOUT: Duration = Duration::from_mins(1);

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: writer::Writer,
    readers: SqlitePool,
    keys: Arc<Keyring>,
    // Released with the last handle: a restore replaces the file only when nothing has it open.
    _lock: File,
}

impl Store {
    /// Opens the database of a data directory: makes or migrates it, and checks that the keys it needs are there.
    pub async fn open(data_dir: &DataDir, source: KeySource) -> Result<Self, StoreError> {
        let lock = data_dir.share()?.ok_or(StoreError::Restoring)?;
        let path = data_dir.database();
        let mut connection = schema::open(&path).await?;
        let keys = Arc::new(open_keys(&mut connection, source).await?);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_TIMEOUT)
            .acquire_slow_threshold(READER_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(schema::options(&path).pragma("query_only", "ON"));
        let writer = writer::Writer::start(path.clone(), connection, Arc::clone(&keys));
        Ok(Self { inner: Arc::new(Inner { path, writer, readers, keys, _lock: lock }) })
    }

    /// Carries out `work` in a transaction, and returns when that is on the disk. An error leaves no trace of the operation.
    ///
    /// Operations share transactions (see [`writer`]), so `work` must not wait for anything but its own statements.
    pub async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    /// Connections for reading; statements that write fail on them.
    #[must_use]
    pub fn reader(&self) -> &SqlitePool {
        &self.inner.readers
    }

    /// Opens a sealed value. One that does not open must not hide the others: report it and go on.
    pub fn unseal(&self, key: &KeyId, place: &Place, data: &[u8]) -> Result<Secret, StoreError> {
        self.inner.keys.unseal(key, place, data).ok_or_else(|| StoreError::Undecryptable {
            what: format!("{} {}", place.table, place.row),
            key: key.clone(),
        })
    }

    /// The keys of this process.
    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.inner.keys
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.inner.path
    }

    /// Waits until nothing can be written any more: after [`Store::close`], or because the writer broke down.
    pub async fn ended(&self) {
        self.inner.writer.ended().await;
    }

    /// Finishes waiting writes and closes the database.
    pub async fn close(&self) {
        self.inner.writer.close().await;
        self.inner.readers.close().await;
    }
}

/// Loads the keys and checks them against those the database needs, before anything else is read or written.
async fn open_keys(connection: &mut SqliteConnection, source: KeySource) -> Result<Keyring, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.doing("read the encryption key ids")?;
    let needed: Vec<(KeyId, bool)> = sqlx::query("SELECT id, active FROM encryption_keys")
        .fetch_all(&mut *transaction)
        .await
        .doing("read the encryption key ids")?
        .iter()
        .map(|row| (KeyId::stored(row.get(0)), row.get(1)))
        .collect();
    // Only a database without keys may be given a new one: beside an old one it would hide that the right key is lost.
    let keys = if needed.is_empty() { Keyring::load_or_create(source)? } else { Keyring::load(source)? };
    for (id, _) in &needed {
        keys.require(id)?;
    }
    let active = needed.into_iter().find_map(|(id, active)| active.then_some(id));
    let ids = keys.ids();
    // In a file the order means nothing, the database says which key encrypts; in the variable it is the first.
    let first = match keys.source() {
        KeySource::File(_) if active.is_some() => None,
        _ => ids.first().filter(|first| active.as_ref() != Some(*first)),
    };
    if let Some(first) = first {
        activate(&mut transaction, first).await?;
        transaction.commit().await.doing("record the encryption key id")?;
    }
    Ok(keys)
}

/// From the commit on, every process encrypts with `key`.
async fn activate(connection: &mut SqliteConnection, key: &KeyId) -> Result<(), StoreError> {
    let action = "switch the encryption key";
    sqlx::query("UPDATE encryption_keys SET active = 0 WHERE active = 1")
        .execute(&mut *connection)
        .await
        .doing(action)?;
    sqlx::query("INSERT INTO encryption_keys VALUES (?, 1, ?) ON CONFLICT (id) DO UPDATE SET active = 1")
        .bind(key.as_str())
        .bind(now().as_microsecond())
        .execute(connection)
        .await
        .map(drop)
        .doing(action)
}

/// The time, in the resolution the database keeps.
pub(crate) fn now() -> Timestamp {
    Timestamp::now().round(Unit::Microsecond).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A stored time.
pub(crate) fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
