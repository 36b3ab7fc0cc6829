//! The one queue of writes.
//!
//! An acknowledged write has reached the disk, which costs an fsync. Operations that wait while one transaction commits are carried out
//! together in the next, so that ten thousand agents at boot cost some hundred fsyncs, not ten thousand. Each operation has its own
//! savepoint: one that is refused leaves no trace and does not undo its neighbours.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{Connection, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::error::{Doing, StoreError};
use super::key::KeyId;
use super::keyring::{Keyring, Place, Sealed};
use super::schema;

/// Operations that may wait; more make their callers wait for a place.
const QUEUE: usize = 1024;
/// Most operations of one commit, so that the first of them is not held up by the last.
const GROUP: usize = 256;

/// The inside of a transaction.
pub struct Writing {
    connection: SqliteConnection,
    keys: Arc<Keyring>,
    active: Option<KeyId>,
    now: Timestamp,
}

impl Writing {
    /// Runs statements of this transaction.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// The time of this transaction, in the resolution of the database.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Encrypts under the active key, which cannot change while this transaction holds the write lock.
    pub fn seal(&self, place: &Place, value: &[u8]) -> Result<Sealed, StoreError> {
        let active = self.active.as_ref().ok_or(StoreError::Malformed { what: "encryption_keys.active" })?;
        Ok(self.keys.seal(active, place, value)?)
    }

    /// The active key.
    pub(super) fn active_key(&self) -> Option<&KeyId> {
        self.active.as_ref()
    }

    /// For what follows in this transaction, once the database names another key.
    pub(super) fn set_active_key(&mut self, key: KeyId) {
        self.active = Some(key);
    }

    pub(super) fn keys(&self) -> &Arc<Keyring> {
        &self.keys
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection).await.doing("begin a write")?;
        // The fence of key rotation: whoever writes learns here which key encrypts, under the lock that a switch needs too.
        let active = sqlx::query("SELECT id FROM encryption_keys WHERE active = 1")
            .fetch_optional(&mut self.connection)
            .await
            .doing("read the active encryption key")?;
        self.active = active.map(|row| KeyId::stored(row.get(0)));
        self.now = super::now();
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut self.connection).await.map(drop)
    }
}

/// What a finished operation still has to do: tell its caller, once the fate of the transaction is known.
struct Done {
    keep: bool,
    answer: Answer,
}

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

trait Operation: Send {
    fn run(self: Box<Self>, writing: &mut Writing) -> BoxFuture<'_, Done>;
    fn refuse(self: Box<Self>, error: StoreError);
}

struct Waiting<F, T, E> {
    work: F,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Operation for Waiting<F, T, E>
where
    F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn run(self: Box<Self>, writing: &mut Writing) -> BoxFuture<'_, Done> {
        let Self { work, answer } = *self;
        Box::pin(async move {
            let result = work(writing).await;
            let keep = result.is_ok();
            // The caller may have gone away; the write stands all the same.
            let answer = Box::new(move |committed: Result<(), StoreError>| {
                drop(answer.send(result.and_then(|value| committed.map(|()| value).map_err(E::from))));
            });
            Done { keep, answer }
        })
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        drop(self.answer.send(Err(error.into())));
    }
}

enum Message {
    Write(Box<dyn Operation>),
    Close,
}

/// The callers' end of the queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the task that owns the writing connection. It ends with [`Writer::close`] or with the last handle.
    pub(super) fn start(path: PathBuf, connection: SqliteConnection, keys: Arc<Keyring>) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let writing = Writing { connection, keys, active: None, now: Timestamp::UNIX_EPOCH };
        tokio::spawn(Task { path, messages, writing }.run());
        Self { queue }
    }

    pub(super) async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let operation = Message::Write(Box::new(Waiting { work, answer }));
        self.queue.send(operation).await.map_err(|_| StoreError::Abandoned)?;
        answered.await.map_err(|_| StoreError::Abandoned)?
    }

    /// Waits until the task has ended, which it does not do by itself.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Carries out what waits, refuses what comes later, and closes the connection.
    pub(super) async fn close(&self) {
        if self.queue.send(Message::Close).await.is_ok() {
            self.queue.closed().await;
        }
    }
}

struct Task {
    path: PathBuf,
    messages: mpsc::Receiver<Message>,
    writing: Writing,
}

impl Task {
    async fn run(mut self) {
        while let Some(message) = self.messages.recv().await {
            match message {
                Message::Write(first) => self.group(first).await,
                Message::Close => break,
            }
        }
        if let Err(error) = self.writing.connection.close().await {
            tracing::warn!(%error, "cannot close the database");
        }
    }

    /// One transaction: `first`, and whatever waits by the time it is done.
    async fn group(&mut self, first: Box<dyn Operation>) {
        if let Err(error) = self.writing.begin().await {
            self.recover().await;
            return first.refuse(error);
        }
        let (mut answers, mut next, mut broken) = (Vec::new(), Some(first), None);
        while let Some(operation) = next.take() {
            if let Err(error) = self.one(operation, &mut answers).await {
                // SQLite undoes the whole transaction when the disk is full or fails; nothing of the group was kept.
                broken = Some(error);
            } else if answers.len() < GROUP {
                next = self.next_waiting();
            }
        }
        let outcome = match broken {
            Some(error) => Err(error),
            None => self.writing.run("COMMIT").await,
        };
        let failure = outcome.err().map(Arc::new);
        if let Some(error) = &failure {
            tracing::error!(%error, "a transaction was lost");
            self.recover().await;
        }
        for answer in answers {
            answer(failure.clone().map_or(Ok(()), |error| Err(StoreError::Commit(error))));
        }
    }

    fn next_waiting(&mut self) -> Option<Box<dyn Operation>> {
        match self.messages.try_recv().ok()? {
            Message::Write(operation) => Some(operation),
            Message::Close => {
                self.messages.close();
                self.next_waiting()
            }
        }
    }

    /// Fails only when the transaction itself is gone.
    async fn one(&mut self, operation: Box<dyn Operation>, answers: &mut Vec<Answer>) -> Result<(), sqlx::Error> {
        // Both at once, because each statement is a trip to another thread; the commit releases the last one.
        let next = if answers.is_empty() { "SAVEPOINT operation" } else { "RELEASE operation; SAVEPOINT operation" };
        self.writing.run(next).await?;
        // A panic ends its own operation, whose caller sees its answer dropped; the queue lives on.
        let done = AssertUnwindSafe(operation.run(&mut self.writing)).catch_unwind().await;
        let keep = done.as_ref().is_ok_and(|done| done.keep);
        answers.extend(done.map(|done| done.answer));
        if keep { Ok(()) } else { self.writing.run("ROLLBACK TO operation").await }
    }

    /// After a failure: no transaction is open, and the connection works or is a new one.
    async fn recover(&mut self) {
        // Fails where SQLite has rolled back already; the next begin tells.
        drop(self.writing.run("ROLLBACK").await);
        if self.writing.connection.ping().await.is_err() {
            match schema::open(&self.path).await {
                Ok(connection) => self.writing.connection = connection,
                Err(error) => tracing::error!(%error, "cannot reopen the database"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use crate::store::{Doing, StoreError, UserError, testing};

    #[tokio::test]
    async fn a_refused_operation_leaves_no_trace_and_does_not_undo_its_neighbours() {
        let (dir, store) = testing::store().await;
        let made = futures_util::future::join_all((0..500).map(|n| {
            let store = store.clone();
            async move { store.create_user(&format!("user{}", n / 2)).await }
        }))
        .await;
        let refused = made.iter().filter(|made| matches!(made, Err(UserError::Exists(_)))).count();
        assert_eq!((made.iter().filter(|made| made.is_ok()).count(), refused), (250, 250));
        store.close().await;
        drop(store);
        let store = testing::reopen(&dir).await;
        for table in ["SELECT count(*) FROM users", "SELECT count(*) FROM audit"] {
            let count: i64 = sqlx::query(table).fetch_one(store.reader()).await.unwrap().get(0);
            assert_eq!(count, 250);
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_operation_only() {
        let (_dir, store) = testing::store().await;
        let lost = store.write::<_, (), StoreError>(|writing| {
            Box::pin(async move {
                let made = sqlx::query("INSERT INTO users VALUES (randomblob(16), 'lost', 0)");
                made.execute(writing.connection()).await.doing("insert")?;
                panic!("on purpose");
            })
        });
        assert!(matches!(lost.await, Err(StoreError::Abandoned)));
        testing::user(&store, "alice").await;
        assert_eq!(store.user("lost").await.unwrap(), None);
    }

    #[tokio::test]
    async fn after_close_a_write_is_refused() {
        let (_dir, store) = testing::store().await;
        store.close().await;
        assert!(matches!(store.create_user("alice").await, Err(UserError::Store(StoreError::Abandoned))));
    }
}
