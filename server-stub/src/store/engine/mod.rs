//! The database behind the store: connections, transactions, migrations, and what each engine calls its errors.
//!
//! The domains beside this module write each statement once, in the dialect that [`dialect`] describes, and never see an engine:
//!
//! ```ignore
//! row! {
//!     struct UserRow { id: Uuid, username: String, created_at: Timestamp }
//! }
//!
//! // Reading: `{columns}` are those of the row type.
//! let user = database.optional(query::<UserRow>("SELECT {columns} FROM users WHERE id = ?").bind(id)).await.doing("read the user")?;
//!
//! // Writing: the closure runs inside a transaction; an error leaves no trace of it.
//! database.write(move |writing| Box::pin(async move {
//!     let now = writing.now();
//!     writing.sql.execute(insert!("users" { id: id, username: name, created_at: now })).await.doing("create the user")
//! })).await
//! ```
//!
//! - **A column**: a migration in `migrations/`, written once for both engines; the field in the row structs that read it; the value in
//!   the `insert!`. A column that is sealed is also an entry of [`super::keys::sealed`].
//! - **A table**: a migration, and row structs in the module of its domain. `move` finds it by itself.
//! - **A rule over several rows** (a cap, a conflict): a pure function, asked inside a write after [`Connection::lock_user`], with a
//!   unique index behind it where one can be.
//! - **A change that agents must learn of**: [`Writing::changed`], beside the counter that [`super::generations`] grows.
//! - **An engine**: a module beside [`sqlite`] and [`postgres`] that opens, reads, writes and migrates; a link of [`Connection`]; a
//!   variant of [`Row`]; a writer of the tokens in [`dialect`].

mod changes;
mod connection;
mod dialect;
mod error;
mod failure;
mod migrations;
mod native;
pub(super) mod postgres;
mod query;
mod row;
pub(super) mod sqlite;
mod transfer;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use changes::Publisher;
pub use changes::{Change, ChangeStream};
pub(super) use connection::Connection;
pub(super) use error::Doing;
pub use error::StoreError;
pub use failure::{DatabaseError, Fault};
use native::pool::Pool;
pub use postgres::options::DatabaseUrl;
pub(super) use query::{Query, command, insert, query};
pub(super) use row::{FromRow, Row, row};
pub use transfer::{Copied, CopyError};
pub(super) use transfer::{Way, copy};
pub(super) use writing::Writing;

use super::keys::Keyring;
use crate::metrics::{self, Statement};

/// Where a database is.
#[derive(Clone, Debug)]
pub(super) enum Location {
    /// SQLite's file.
    File(PathBuf),
    /// A PostgreSQL database.
    Url(Box<DatabaseUrl>),
}

/// What the process is to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server creates what is missing and migrates what is old.
    Server,
    /// Any other command takes the database as it is.
    Command,
}

/// A database that is open and has this version's schema, but whose keys are not known yet.
pub(super) struct Opened {
    /// The connection to load the keys with; on SQLite it becomes the one that writes.
    pub(super) sql: Connection,
    native: Native,
}

enum Native {
    Sqlite(PathBuf),
    Postgres(Pool),
}

/// Opens the database. A server creates and migrates it.
pub(super) async fn open(location: &Location, role: Role) -> Result<Opened, StoreError> {
    match location {
        Location::File(path) => {
            let sql = sqlite::schema::open(path, role).await?.into();
            Ok(Opened { sql, native: Native::Sqlite(path.clone()) })
        }
        Location::Url(url) => {
            let named = url.to_string();
            postgres::schema::prepare(&url.options(), &named, role).await?;
            let pool = Pool::new(url.options());
            let connect = |source: sqlx::Error| StoreError::Connect { database: named, source: source.into() };
            let sql = pool.lease().pool.begin().await.map_err(connect)?.into();
            Ok(Opened { sql, native: Native::Postgres(pool) })
        }
    }
}

impl Opened {
    /// Starts to serve operations. `keys` seal and open values; `deployment` names the channel between its servers.
    pub(super) fn start(self, keys: Arc<Keyring>, deployment: Uuid) -> Database {
        let (publisher, own) = (Publisher::default(), Uuid::new_v4());
        let engine = match self.native {
            Native::Sqlite(path) => {
                Engine::Sqlite(sqlite::Sqlite::start(&path, self.sql, Arc::clone(&keys), publisher.clone()))
            }
            Native::Postgres(pool) => Engine::Postgres(postgres::Postgres::start(
                pool,
                Arc::clone(&keys),
                publisher.clone(),
                postgres::Channel { deployment, own },
            )),
        };
        Database { inner: Arc::new(Inner { engine, keys, publisher, own }) }
    }
}

/// A handle on the open database; clones share it.
#[derive(Clone)]
pub(super) struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    keys: Arc<Keyring>,
    publisher: Publisher,
    own: Uuid,
}

enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Database {
    /// Carries out `work` in a transaction, and returns when that is durable. An error leaves no trace of the operation.
    ///
    /// Operations share transactions on SQLite, so `work` must not wait for anything but its own statements. PostgreSQL has several
    /// writers: if one was in the way, `work` runs again from the start, hence `Clone`; what cannot be cloned goes into an `Arc`.
    pub(super) async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Writing) -> BoxFuture<'t, Result<T, E>> + Clone + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let _timer = metrics::database(Statement::Write);
        match &self.inner.engine {
            Engine::Sqlite(engine) => engine.write(work).await,
            Engine::Postgres(engine) => engine.write(work).await,
        }
    }

    /// A connection for several reads.
    pub(super) async fn read(&self) -> Result<Connection, DatabaseError> {
        match &self.inner.engine {
            Engine::Sqlite(engine) => Ok(engine.read().await?),
            Engine::Postgres(engine) => Ok(engine.read().await?),
        }
    }

    /// A connection whose reads all see the same moment.
    pub(super) async fn snapshot(&self) -> Result<Connection, DatabaseError> {
        match &self.inner.engine {
            Engine::Sqlite(engine) => Ok(engine.snapshot().await?),
            Engine::Postgres(engine) => engine.snapshot().await,
        }
    }

    /// As [`Connection::all`], on a connection of its own.
    pub(super) async fn all<R: FromRow>(&self, query: Query<R>) -> Result<Vec<R>, DatabaseError> {
        let again = self.spare(&query);
        match self.read().await?.all(query).await {
            Err(error) if error.fault() == Fault::Lost => match again {
                Some(query) => self.read().await?.all(query).await,
                None => Err(error),
            },
            done => done,
        }
    }

    /// As [`Connection::optional`], on a connection of its own.
    pub(super) async fn optional<R: FromRow>(&self, query: Query<R>) -> Result<Option<R>, DatabaseError> {
        let again = self.spare(&query);
        match self.read().await?.optional(query).await {
            Err(error) if error.fault() == Fault::Lost => match again {
                Some(query) => self.read().await?.optional(query).await,
                None => Err(error),
            },
            done => done,
        }
    }

    /// The query once more, where a connection may be found dead only in use.
    fn spare<R>(&self, query: &Query<R>) -> Option<Query<R>> {
        matches!(self.inner.engine, Engine::Postgres(_)).then(|| query.clone())
    }

    /// As [`Connection::one`], on a connection of its own.
    #[cfg(test)]
    pub(super) async fn one<R: FromRow>(&self, query: Query<R>) -> Result<R, DatabaseError> {
        self.optional(query).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Changes that are committed from now on, by this process and by others.
    pub(super) fn changes(&self) -> ChangeStream {
        if let Engine::Postgres(engine) = &self.inner.engine {
            engine.listen();
        }
        self.inner.publisher.subscribe()
    }

    /// Names this process among those on the database.
    pub(super) fn own(&self) -> Uuid {
        self.inner.own
    }

    /// The keys of this process.
    pub(super) fn keys(&self) -> &Keyring {
        &self.inner.keys
    }

    /// Where the database is, if that can be told: a copy is elsewhere.
    pub(super) async fn home(&self) -> Option<String> {
        match &self.inner.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(engine) => engine.home().await,
        }
    }

    /// Writes that wait or are under way, and connections if the engine has a pool of them: all, idle.
    pub(super) fn load(&self) -> (u64, Option<(u64, u64)>) {
        match &self.inner.engine {
            Engine::Sqlite(engine) => (engine.waiting(), None),
            Engine::Postgres(engine) => engine.load(),
        }
    }

    /// Whether a row can have this text: PostgreSQL stores no U+0000, and refuses to look for one.
    pub(super) fn can_hold(&self, text: &str) -> bool {
        matches!(self.inner.engine, Engine::Sqlite(_)) || !text.contains('\0')
    }

    /// SQLite's file, for what only a file can do; none for a PostgreSQL database, which has tools of its own for that.
    pub(super) fn file(&self) -> Option<&sqlite::Sqlite> {
        match &self.inner.engine {
            Engine::Sqlite(engine) => Some(engine),
            Engine::Postgres(_) => None,
        }
    }

    /// Waits until nothing can be written any more: after [`Database::close`], or because the writer broke down.
    pub(super) async fn ended(&self) {
        match &self.inner.engine {
            Engine::Sqlite(engine) => engine.ended().await,
            Engine::Postgres(engine) => engine.ended().await,
        }
    }

    /// Finishes waiting writes and closes every connection.
    pub(super) async fn close(&self) {
        match &self.inner.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }
}
