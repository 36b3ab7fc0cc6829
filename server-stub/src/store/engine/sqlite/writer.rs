//! The one queue of writes.
//!
//! An acknowledged write has reached the disk, which costs an fsync. Operations that wait while one transaction commits are carried out
//! together in the next, so that ten thousand agents at boot cost some hundred fsyncs, not ten thousand. Each operation has its own
//! savepoint: one that is refused leaves no trace and does not undo its neighbours.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::super::Role;
use super::super::changes::{Change, Publisher};
use super::super::error::{Doing, StoreError};
use super::super::failure::DatabaseError;
use super::super::native::sqlite::{begin, changed_elsewhere, run};
use super::super::writing::Writing;
use super::schema;

/// Operations that may wait; more make their callers wait for a place.
const QUEUE: usize = 1024;
/// Most operations of one commit, so that the first of them is not held up by the last.
const GROUP: usize = 256;

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

/// How often the task looks for commits of other processes.
const LOOK: Duration = Duration::from_millis(200);
/// Shortest time between two log lines about lost transactions.
const QUIET: Duration = Duration::from_secs(1);

/// The callers' end of the queue.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the task that owns the writing connection. It ends with [`Writer::close`] or with the last handle.
    pub(super) fn start(path: PathBuf, writing: Writing, publisher: Publisher) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        tokio::spawn(Task { path, messages, writing, publisher, version: None, told: None }.serve());
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

    /// Operations in the queue.
    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.queue.max_capacity().saturating_sub(self.queue.capacity())).unwrap_or(u64::MAX)
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
    publisher: Publisher,
    /// Grows with each commit of another connection, so of another process.
    version: Option<i64>,
    /// When a lost transaction was last told of.
    told: Option<Instant>,
}

impl Task {
    async fn serve(mut self) {
        // What it is compared with: a change between the opening of the store and the first look is one, too.
        self.look().await;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                biased;
                _ = look.tick() => {
                    if self.publisher.is_heard() {
                        self.look().await;
                    }
                    continue;
                }
                message = self.messages.recv() => message,
            };
            match message {
                Some(Message::Write(first)) => self.group(first).await,
                Some(Message::Close) | None => break,
            }
        }
        if let Err(error) = self.writing.sql.close().await {
            tracing::warn!(%error, "cannot close the database");
        }
    }

    /// Tells of commits by other processes: an administrator's command beside the server.
    async fn look(&mut self) {
        let Some(connection) = self.writing.sql.sqlite() else { return };
        match changed_elsewhere(connection).await {
            Ok(version) => {
                if self.version.replace(version).is_some_and(|last| last != version) {
                    self.publisher.publish([Change::Any]);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for changes of other processes"),
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        run(self.writing.sql.sqlite().ok_or(sqlx::Error::PoolClosed)?, sql).await
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        begin(self.writing.sql.sqlite().ok_or(StoreError::Abandoned)?).await.doing("begin a write")?;
        self.writing.begun();
        Ok(())
    }

    /// One transaction: `first`, and whatever waits by the time it is done.
    async fn group(&mut self, first: Box<dyn Operation>) {
        if let Err(error) = self.begin().await {
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
            None => self.run("COMMIT").await,
        };
        let failure = outcome.err().map(|error| Arc::new(DatabaseError::from(error)));
        if let Some(error) = &failure {
            // On a full disk every transaction is, and the log may be on that disk.
            if self.told.is_none_or(|told| told.elapsed() > QUIET) {
                self.told = Some(Instant::now());
                tracing::error!(%error, "a transaction was lost");
            }
            self.recover().await;
        } else {
            self.publisher.publish(self.writing.changes().iter().copied());
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
        self.run(next).await?;
        let changes = self.writing.changes().len();
        // A panic ends its own operation, whose caller sees its answer dropped; the queue lives on.
        let done = AssertUnwindSafe(operation.run(&mut self.writing)).catch_unwind().await;
        let keep = done.as_ref().is_ok_and(|done| done.keep);
        answers.extend(done.map(|done| done.answer));
        if keep {
            return Ok(());
        }
        self.writing.undone(changes);
        self.run("ROLLBACK TO operation").await
    }

    /// After a failure: no transaction is open, and the connection works or is a new one.
    async fn recover(&mut self) {
        // Fails where SQLite has rolled back already; the next begin tells.
        drop(self.run("ROLLBACK").await);
        let alive = match self.writing.sql.sqlite() {
            Some(connection) => connection.ping().await.is_ok(),
            None => false,
        };
        if !alive {
            match schema::open(&self.path, Role::Command).await {
                Ok(connection) => self.writing.sql = connection.into(),
                Err(error) => tracing::error!(%error, "cannot reopen the database"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::store::engine::{command, query, row};
    use crate::store::{Doing, StoreError, UserError, testing};

    row! {
        struct Count { count: i64 = "count(*)" }
    }

    #[tokio::test]
    async fn a_refused_operation_leaves_no_trace_and_does_not_undo_its_neighbours() {
        let (dir, store) = testing::file_store().await;
        let made = futures_util::future::join_all((0..500).map(|n| {
            let store = store.clone();
            async move { store.users().create(&format!("user{}", n / 2)).await }
        }))
        .await;
        let refused = made.iter().filter(|made| matches!(made, Err(UserError::Exists(_)))).count();
        assert_eq!((made.iter().filter(|made| made.is_ok()).count(), refused), (250, 250));
        store.close().await;
        drop(store);
        let store = testing::reopen(&dir).await;
        for table in ["SELECT {columns} FROM users", "SELECT {columns} FROM audit"] {
            assert_eq!(store.database.one(query::<Count>(table)).await.unwrap().count, 250);
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_operation_only() {
        let (_dir, store) = testing::file_store().await;
        let lost = store.database.write::<_, (), StoreError>(|writing| {
            Box::pin(async move {
                let made =
                    command("INSERT INTO users (id, username, created_at) VALUES (?, 'lost', 0)").bind(Uuid::new_v4());
                writing.sql.execute(made).await.doing("insert")?;
                panic!("on purpose");
            })
        });
        assert!(matches!(lost.await, Err(StoreError::Abandoned)));
        testing::user(&store, "alice").await;
        assert_eq!(store.users().find("lost").await.unwrap(), None);
    }

    #[tokio::test]
    async fn after_close_a_write_is_refused() {
        let (_dir, store) = testing::file_store().await;
        store.close().await;
        assert!(matches!(store.users().create("alice").await, Err(UserError::Store(StoreError::Abandoned))));
    }
}
