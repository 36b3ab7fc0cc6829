//! PostgreSQL: a pool of connections, each write a transaction of its own.

mod home;
mod notify;
pub(in crate::store) mod options;
mod pooler;
pub(in crate::store) mod schema;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::changes::{Change, Publisher};
use super::connection::Connection;
use super::error::StoreError;
use super::failure::{DatabaseError, Fault};
use super::native::pool::Pool;
use super::native::postgres::within;
use super::writing::Writing;
use crate::metrics;
use crate::store::keys::Keyring;

/// Longest wait at the end for the last notification.
const LAST_NOTIFICATION: Duration = Duration::from_secs(2);
/// A write runs this often before its caller sees the conflict with another writer.
const MAX_ATTEMPTS: u32 = 10;

/// An open PostgreSQL database.
pub(in crate::store) struct Postgres {
    pool: Pool,
    writers: Writers,
    channel: Channel,
    /// Tells other servers of changes, until the last is told after `closed`.
    sender: Mutex<Option<JoinHandle<()>>>,
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
    pool: Pool,
    keys: Arc<Keyring>,
    publisher: Publisher,
    notifications: mpsc::UnboundedSender<Change>,
}

impl Postgres {
    pub(super) fn start(pool: Pool, keys: Arc<Keyring>, publisher: Publisher, channel: Channel) -> Self {
        let (notifications, queue) = mpsc::unbounded_channel();
        let closed = CancellationToken::new();
        let sender = tokio::spawn(notify::send(pool.clone(), channel, queue, closed.clone()));
        let writers = Writers { pool: pool.clone(), keys, publisher, notifications };
        let (sender, listener) = (Mutex::new(Some(sender)), Mutex::default());
        Self { pool, writers, channel, sender, listener, closed, writing: Arc::default() }
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
        let lease = self.pool.lease();
        lease.pool.acquire().await.map(|native| Connection::from(native).of(lease))
    }

    pub(super) async fn snapshot(&self) -> Result<Connection, DatabaseError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        match open(&self.pool, begin).await {
            Err(error) if error.fault() == Fault::Lost => open(&self.pool, begin).await,
            opened => opened,
        }
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
        let pool = self.pool.lease().pool;
        let idle = u64::try_from(pool.num_idle()).unwrap_or(u64::MAX);
        let writing = Arc::strong_count(&self.writing).saturating_sub(1);
        (u64::try_from(writing).unwrap_or(u64::MAX), Some((pool.size().into(), idle)))
    }

    /// See [`home::home`].
    pub(super) async fn home(&self) -> Option<String> {
        home::home(&self.pool.lease().pool).await
    }

    pub(super) async fn ended(&self) {
        self.closed.cancelled().await;
    }

    pub(super) async fn close(&self) {
        self.closed.cancel();
        if let Some(task) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        // A command ends at once, and its change is still to be told.
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender
            && tokio::time::timeout(LAST_NOTIFICATION, sender).await.is_err()
        {
            tracing::warn!("cannot notify other servers of the last changes; they compare every few seconds");
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
        // A write reads what others have committed; what must not change meanwhile it locks. Whatever the default of the database is.
        let sql = match open(&self.pool, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await {
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

/// A connection in a transaction that this statement begins.
async fn open(pool: &Pool, begin: &'static str) -> Result<Connection, DatabaseError> {
    let lease = pool.lease();
    let opened = within(lease.pool.begin_with(begin)).await.map_err(DatabaseError::from);
    match opened {
        Ok(native) => Ok(Connection::from(native).of(lease)),
        Err(error) => {
            if error.fault() == Fault::Lost {
                lease.lost();
            }
            Err(error)
        }
    }
}
