//! Running statements.

use std::borrow::Cow;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

use super::dialect;
use super::failure::{DatabaseError, Fault};
use super::native::pool::Lease;
use super::native::postgres::{self, Fence};
use super::native::sqlite;
use super::query::{Query, Value};
use super::row::{FromRow, Row};
use crate::metrics::{self, Statement};

/// A connection of any engine.
pub(in crate::store) struct Connection {
    link: Link,
    /// The pool it is of, to be told when the connection is dead.
    lease: Option<Lease>,
    /// Whether another writer was in the way of a statement, so that running the operation again may succeed.
    conflict: bool,
}

enum Link {
    /// The connection of SQLite's writer.
    Sqlite(SqliteConnection),
    SqliteReader(PoolConnection<Sqlite>),
    SqliteSnapshot(Transaction<'static, Sqlite>),
    PostgresReader(PoolConnection<Postgres>),
    /// Dropping it undoes what was not committed.
    Postgres(Transaction<'static, Postgres>),
    /// Its transaction is over.
    Over,
}

/// What an engine works with.
enum Native<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

macro_rules! from {
    ($($link:ident($type:ty)),* $(,)?) => {$(
        impl From<$type> for Connection {
            fn from(native: $type) -> Self {
                Self { link: Link::$link(native), lease: None, conflict: false }
            }
        }
    )*};
}
from! {
    Sqlite(SqliteConnection),
    SqliteReader(PoolConnection<Sqlite>),
    SqliteSnapshot(Transaction<'static, Sqlite>),
    PostgresReader(PoolConnection<Postgres>),
    Postgres(Transaction<'static, Postgres>),
}

impl Connection {
    /// Notes the pool of the connection.
    pub(super) fn of(self, lease: Lease) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// All rows.
    pub(in crate::store) async fn all<R: FromRow>(&mut self, query: Query<R>) -> Result<Vec<R>, DatabaseError> {
        let _timer = metrics::database(Statement::Query);
        let Query { sql, values, .. } = query;
        let rows = match self.native()? {
            Native::Sqlite(native) => {
                let rows = sqlite::all(native, dialect::sqlite(sql, R::COLUMNS), values).await;
                rows.map(|rows| rows.into_iter().map(|row| R::from_row(&Row::Sqlite(row))).collect())
            }
            Native::Postgres(native) => {
                let rows = postgres::all(native, dialect::postgres(sql, R::COLUMNS), values).await;
                rows.map(|rows| rows.into_iter().map(|row| R::from_row(&Row::Postgres(row))).collect())
            }
        };
        self.noted(rows)?
    }

    /// The first row, if there is any.
    pub(in crate::store) async fn optional<R: FromRow>(&mut self, query: Query<R>) -> Result<Option<R>, DatabaseError> {
        let _timer = metrics::database(Statement::Query);
        let Query { sql, values, .. } = query;
        let row = match self.native()? {
            Native::Sqlite(native) => {
                let row = sqlite::optional(native, dialect::sqlite(sql, R::COLUMNS), values).await;
                row.map(|row| row.map(Row::Sqlite))
            }
            Native::Postgres(native) => {
                let row = postgres::optional(native, dialect::postgres(sql, R::COLUMNS), values).await;
                row.map(|row| row.map(Row::Postgres))
            }
        };
        self.noted(row)?.as_ref().map(R::from_row).transpose()
    }

    /// The one row of a query that always has one.
    pub(in crate::store) async fn one<R: FromRow>(&mut self, query: Query<R>) -> Result<R, DatabaseError> {
        self.optional(query).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// The number of rows that a command changed.
    pub(in crate::store) async fn execute(&mut self, command: Query<()>) -> Result<u64, DatabaseError> {
        let _timer = metrics::database(Statement::Command);
        let Query { sql, values, .. } = command;
        let done = match self.native()? {
            Native::Sqlite(native) => sqlite::execute(native, dialect::sqlite(sql, ""), values).await,
            Native::Postgres(native) => postgres::execute(native, dialect::postgres(sql, ""), values).await,
        };
        self.noted(done)
    }

    /// Runs commands one after the other, in as few trips as the engine can. Their placeholders are plain `?`.
    pub(in crate::store) async fn batch(&mut self, commands: Vec<Query<()>>) -> Result<(), DatabaseError> {
        if let Native::Sqlite(native) = self.native()? {
            let _timer = metrics::database(Statement::Command);
            let sql: Vec<Cow<'_, str>> = commands.iter().map(|command| dialect::sqlite(command.sql, "")).collect();
            let values: Vec<Value> = commands.into_iter().flat_map(|command| command.values).collect();
            sqlite::execute(native, sql.join("; ").into(), values).await?;
            return Ok(());
        }
        for command in commands {
            self.execute(command).await?;
        }
        Ok(())
    }

    /// Begins a transaction that no other writer can interrupt. Dropping the connection before [`Connection::commit`] undoes it.
    pub(in crate::store) async fn begin(&mut self) -> Result<(), DatabaseError> {
        let begun = match self.native()? {
            Native::Sqlite(native) => sqlite::begin(native).await,
            // It is in a transaction already.
            Native::Postgres(native) => postgres::fence(native, Fence::Switch).await,
        };
        self.noted(begun)
    }

    /// Makes durable what happened since the transaction began. Only SQLite's writer can be used afterwards.
    pub(in crate::store) async fn commit(&mut self) -> Result<(), DatabaseError> {
        match std::mem::replace(&mut self.link, Link::Over) {
            Link::Sqlite(mut native) => {
                let committed = sqlite::run(&mut native, "COMMIT").await;
                self.link = Link::Sqlite(native);
                Ok(committed?)
            }
            Link::Postgres(transaction) => {
                let committed = postgres::within(transaction.commit()).await;
                self.noted(committed)
            }
            other => {
                self.link = other;
                Ok(())
            }
        }
    }

    /// Until the transaction ends, nobody else changes what belongs to `user`: caps and conflicts are judged under this lock. SQLite has
    /// one writer at a time anyway.
    pub(in crate::store) async fn lock_user(&mut self, user: uuid::Uuid) -> Result<(), DatabaseError> {
        let Native::Postgres(native) = self.native()? else { return Ok(()) };
        let locked = postgres::lock_user(native, user).await;
        self.noted(locked)
    }

    /// Until the transaction ends, the key that encrypts stays the same.
    pub(in crate::store) async fn hold_key(&mut self) -> Result<(), DatabaseError> {
        self.fence(Fence::Hold).await
    }

    /// Until the transaction ends, nobody encrypts. Whoever did has committed.
    pub(in crate::store) async fn switch_key(&mut self) -> Result<(), DatabaseError> {
        self.fence(Fence::Switch).await
    }

    async fn fence(&mut self, fence: Fence) -> Result<(), DatabaseError> {
        let Native::Postgres(native) = self.native()? else { return Ok(()) };
        let held = postgres::fence(native, fence).await;
        self.noted(held)
    }

    /// Whether running the operation again may succeed.
    pub(super) fn conflict(&self) -> bool {
        self.conflict
    }

    /// SQLite's own connection, for its writer.
    pub(super) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match self.native() {
            Ok(Native::Sqlite(native)) => Some(native),
            _ => None,
        }
    }

    /// Closes SQLite's writing connection.
    pub(super) async fn close(self) -> Result<(), sqlx::Error> {
        match self.link {
            Link::Sqlite(native) => sqlx::Connection::close(native).await,
            _ => Ok(()),
        }
    }

    fn native(&mut self) -> Result<Native<'_>, DatabaseError> {
        match &mut self.link {
            Link::Sqlite(native) => Ok(Native::Sqlite(native)),
            Link::SqliteReader(native) => Ok(Native::Sqlite(native)),
            Link::SqliteSnapshot(native) => Ok(Native::Sqlite(native)),
            Link::PostgresReader(native) => Ok(Native::Postgres(native)),
            Link::Postgres(native) => Ok(Native::Postgres(native)),
            Link::Over => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    fn noted<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, DatabaseError> {
        result.map_err(|source| {
            let error = DatabaseError::from(source);
            let fault = error.fault();
            metrics::database_failed(fault.as_str());
            self.conflict |= matches!(fault, Fault::Conflict | Fault::Taken | Fault::Lost);
            if let (Fault::Lost, Some(lease)) = (fault, &self.lease) {
                lease.lost();
            }
            error
        })
    }
}
