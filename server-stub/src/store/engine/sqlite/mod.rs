//! SQLite: one connection that writes, a few that read.

mod file;
mod inspect;
mod options;
pub(in crate::store) mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

pub(in crate::store) use inspect::{end_epoch, has_users, inspect};

use super::changes::Publisher;
use super::connection::Connection;
use super::error::StoreError;
use super::writing::Writing;
use crate::store::keys::Keyring;

/// Connections that read. Each is a thread of its own; two cores are busy long before four readers wait for the disk.
const READERS: u32 = 4;
/// Longest wait for a reader: as long as an agent waits for an answer, because ten thousand that boot together are to wait their turn,
/// not to be refused. The library would warn of each wait of two seconds.
const READER_TIMEOUT: Duration = Duration::from_mins(1);

/// An open database file.
pub(in crate::store) struct Sqlite {
    path: PathBuf,
    writer: writer::Writer,
    readers: SqlitePool,
}

impl Sqlite {
    pub(super) fn start(path: &Path, sql: Connection, keys: Arc<Keyring>, publisher: Publisher) -> Self {
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_TIMEOUT)
            .acquire_slow_threshold(READER_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options::options(path).pragma("query_only", "ON"));
        let writer = writer::Writer::start(path.to_owned(), Writing::new(sql, keys), publisher);
        Self { path: path.to_owned(), writer, readers }
    }

    pub(super) async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.write(work).await
    }

    pub(super) async fn read(&self) -> Result<Connection, sqlx::Error> {
        self.readers.acquire().await.map(Connection::from)
    }

    pub(super) async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        self.readers.begin().await.map(Connection::from)
    }

    /// Old ciphertext is overwritten in the database, but the write-ahead log still has it until it is emptied.
    pub(in crate::store) async fn forget_replaced(&self) -> Result<(), StoreError> {
        file::empty_log(&self.path).await
    }

    /// Writes a copy of this moment into the empty file at `path`.
    pub(in crate::store) async fn copy_into(&self, path: &Path) -> Result<(), StoreError> {
        file::copy(&self.path, path).await
    }

    /// Writes in the queue.
    pub(super) fn waiting(&self) -> u64 {
        self.writer.waiting()
    }

    pub(super) async fn ended(&self) {
        self.writer.ended().await;
    }

    pub(super) async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}
