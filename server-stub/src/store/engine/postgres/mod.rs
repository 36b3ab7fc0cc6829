//! PostgreSQL: a pool of connections, each write a transaction of its own.

mod home;
mod notify;
pub(in crate::store) mod options;
mod pooler;
pub(in crate::store) mod schema;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::changes::{Change, Publisher};
use super::connection::Connection;
use super::error::StoreError;
use super::failure::{DatabaseError, Fault};
use super::writing::Writing;
use crate::metrics;
use crate::store::keys::Keyring;

/// Connections of one server. More than a few for each core of the database only queue there.
const CONNECTIONS: u32 = 16;
/// Longest wait for a connection: as long as an agent waits for an answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);
/// A write runs this often before its caller sees the conflict with another writer.
const MAX_ATTEMPTS: u32 = 10;

/// An open PostgreSQL database.
pub(in crate::store) struct Postgres {
    pool: PgPool,
    writers: Writers,
    channel: Channel,
    /// Ends the task that listens to other servers.
    listener: Mutex<Option<AbortHandle>>,
    closed: CancellationToken,
    /// Each write under way has a handle on this.
    writing: Arc<()>,
}

/// Where notifications go, and who sends them.
#[derive(Clone, Copy)]
pub(super) struct Channel {
    /// Names the channel: channels belong to a whole database, deployments to schemas of it.
    pub(super) deployment: Uuid,
    /// This process, which does not hear itself.
    pub(super) own: Uuid,
}

/// What every write needs.
#[derive(Clone)]
struct Writers {
    pool: PgPool,
    keys: Arc<Keyring>,
    publisher: Publisher,
    notifications: mpsc::UnboundedSender<Change>,
}

/// Idle connections are not checked before use: that would be a trip for each operation. One that is found dead is replaced, and the
/// operation runs again.
pub(super) fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        .idle_timeout(Some(Duration::from_mins(10)))
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

impl Postgres {
    pub(super) fn start(pool: PgPool, keys: Arc<Keyring>, publisher: Publisher, channel: Channel) -> Self {
        let (notifications, queue) = mpsc::unbounded_channel();
        // Ends with the last writer.
        tokio::spawn(notify::send(pool.clone(), channel, queue));
        let writers = Writers { pool: pool.clone(), keys, publisher, notifications };
        let (listener, closed) = (Mutex::default(), CancellationToken::new());
        Self { pool, writers, channel, listener, closed, writing: Arc::default() }
    }

    /// Runs `work` in a transaction. Conflicts with other writers are resolved by running it again: it then sees what they wrote.
    pub(super) async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Clone + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.closed.is_cancelled() {
            return Err(StoreError::Abandoned.into());
        }
        let writers = self.writers.clone();
        let under_way = Arc::clone(&self.writing);
        // A task of its own, as on SQLite: the write stands if its caller goes away, and a panic ends this operation only.
        let writing = tokio::spawn(async move {
            let written = writers.write(work).await;
            drop(under_way);
            written
        });
        writing.await.map_err(|_| StoreError::Abandoned)?
    }

    pub(super) async fn read(&self) -> Result<Connection, sqlx::Error> {
        self.pool.acquire().await.map(Connection::from)
    }

    pub(super) async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.pool.begin_with(begin).await.map(Connection::from)
    }

    /// Publishes changes of other servers from now on.
    pub(super) fn listen(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_none() {
            let task = notify::receive(self.pool.clone(), self.channel, self.writers.publisher.clone());
            *listener = Some(tokio::spawn(task).abort_handle());
        }
    }

    /// Writes under way, and connections: all, idle.
    pub(super) fn load(&self) -> (u64, Option<(u64, u64)>) {
        let idle = u64::try_from(self.pool.num_idle()).unwrap_or(u64::MAX);
        let writing = Arc::strong_count(&self.writing).saturating_sub(1);
        (u64::try_from(writing).unwrap_or(u64::MAX), Some((self.pool.size().into(), idle)))
    }

    /// See [`home::home`].
    pub(super) async fn home(&self) -> Option<String> {
        home::home(&self.pool).await
    }

    pub(super) async fn ended(&self) {
        self.closed.cancelled().await;
    }

    pub(super) async fn close(&self) {
        self.closed.cancel();
        if let Some(task) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.pool.close().await;
    }
}

impl Writers {
    async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Clone + Send + 'static,
        E: From<StoreError>,
    {
        for attempt in 1..MAX_ATTEMPTS {
            if let Some(done) = self.attempt(work.clone(), false).await {
                return done;
            }
            metrics::database_retried();
            // Longer each time, and not the same for two processes that collided.
            let pause = u64::from(attempt) * 3 + u64::from(std::process::id() % 3);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.attempt(work, true).await.unwrap_or_else(|| Err(StoreError::Abandoned.into()))
    }

    /// None if another writer was in the way and this is not the last attempt. Nothing is kept then.
    async fn attempt<F, T, E>(&self, work: F, last: bool) -> Option<Result<T, E>>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>>,
        E: From<StoreError>,
    {
        let sql = match begin(&self.pool).await {
            Ok(sql) => sql,
            Err(error) if error.fault() == Fault::Lost && !last => return None,
            Err(source) => return Some(Err(StoreError::Query { action: "begin a write", source }.into())),
        };
        let mut writing = Writing::new(sql, Arc::clone(&self.keys));
        match work(&mut writing).await {
            // Dropping the transaction undoes it.
            Err(_) if writing.sql.conflict() && !last => None,
            Err(error) => Some(Err(error)),
            Ok(value) => match writing.sql.commit().await {
                Ok(()) => {
                    self.publish(writing.changes());
                    Some(Ok(value))
                }
                Err(error) if error.fault() == Fault::Conflict && !last => None,
                // If the connection was lost, nobody knows whether the commit arrived: running it again could do it twice.
                Err(error) => Some(Err(StoreError::Commit(Arc::new(error)).into())),
            },
        }
    }

    fn publish(&self, changes: &[Change]) {
        self.publisher.publish(changes.iter().copied());
        for change in changes {
            // Fails only while the process ends.
            let _ = self.notifications.send(*change);
        }
    }
}

/// A write reads what others have committed; what must not change meanwhile it locks. Whatever the default of the database is.
async fn begin(pool: &PgPool) -> Result<Connection, DatabaseError> {
    Ok(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?.into())
}
