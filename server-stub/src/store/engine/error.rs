//! What can go wrong between a request and the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::{DatabaseError, Fault};
use crate::store::data_dir::DataDirError;
use crate::store::keys::KeyError;

/// A failure of the store. None of its texts holds a value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file could not be made or given its mode.
    #[error("cannot prepare database file {}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database could not be opened.
    #[error("cannot open database {}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// The file is a database of some other program.
    #[error("{} is not a database of coder-server", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite names files in UTF-8.
    #[error("the name of {} is not UTF-8", path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// The database was written by a newer version that has dropped what this one needs.
    #[error(
        "database {database} is from a newer version of coder-server (schema {found}, this version knows up to {known}); \
         upgrade coder-server"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// The database was written by an older version, and only a server migrates.
    #[error(
        "database {database} is from an older version of coder-server (schema {found}, this version has {known}); \
         start the new server once: coder-server serve"
    )]
    Outdated {
        /// The database.
        database: String,
        /// Its schema.
        found: i64,
        /// The schema of this program.
        known: i64,
    },
    /// A server of this version was not yet there to make the MACs of rows.
    #[error("the database was migrated and never served; start the new server once: coder-server serve")]
    Unbound,
    /// There is nothing where a server's database should be.
    #[error(
        "there is no server in {place}: start one with coder-server serve, or give the --data-dir or --database-url of one"
    )]
    NoServer {
        /// Directory or URL.
        place: String,
    },
    /// The file went to PostgreSQL.
    #[error(
        "the database of this directory was moved to PostgreSQL (the old one is {}); give --database-url, or set \
         CODER_SERVER_DATABASE_URL", kept.display()
    )]
    Moved {
        /// The old file.
        kept: PathBuf,
    },
    /// The PostgreSQL database cannot be reached.
    #[error("cannot connect to {database}")]
    Connect {
        /// Its URL without the password.
        database: String,
        /// Why.
        source: DatabaseError,
    },
    /// The URL of the database is none. It is not quoted, because it may have a password.
    #[error("the database URL cannot be used: {problem}")]
    DatabaseUrl {
        /// What is wrong.
        problem: &'static str,
    },
    /// A pooler lends connections for single transactions.
    #[error(
        "{database} is behind a pooler that lends connections for single transactions (PgBouncer: pool_mode = \
         transaction), which prepared statements and notifications do not survive; use pool_mode = session, or connect to \
         PostgreSQL directly"
    )]
    Pooler {
        /// Its URL without the password.
        database: String,
    },
    /// The schema belongs to another program.
    #[error(
        "{database} has tables that are not of coder-server; give an empty database, or a schema of its own with \
         ?options=-csearch_path%3DSCHEMA"
    )]
    ForeignSchema {
        /// Its URL without the password.
        database: String,
    },
    /// Nothing on the search path exists.
    #[error(
        "the schema that the URL or the user of {database} names does not exist; create it (CREATE SCHEMA …), or leave out \
         options=-csearch_path%3D…"
    )]
    NoSchema {
        /// Its URL without the password.
        database: String,
    },
    /// Only a file can do it.
    #[error("this server's database is PostgreSQL: {instead}")]
    NotAFile {
        /// What to use.
        instead: &'static str,
    },
    /// A step of a migration failed; nothing of it was kept.
    #[error("cannot migrate the database to schema {version}")]
    Migrate {
        /// The schema that was to be reached.
        version: i64,
        /// Why.
        source: DatabaseError,
    },
    /// The data directory cannot be locked.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database is about to be another one.
    #[error("a restore is under way in this data directory; try again when it is done")]
    Restoring,
    /// A statement failed.
    #[error("cannot {action}")]
    Query {
        /// What it was for.
        action: &'static str,
        /// Why.
        source: DatabaseError,
    },
    /// The transaction that held the operation did not become durable.
    #[error("cannot commit to the database")]
    Commit(#[source] Arc<DatabaseError>),
    /// The encryption keys do not serve.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A stored field is not what this program writes.
    #[error("{what} in the database is malformed")]
    Malformed {
        /// Table and column.
        what: &'static str,
    },
    /// The writer was closed, or the operation panicked.
    #[error("the store did not carry out the write")]
    Abandoned,
}

impl StoreError {
    /// What kind of failure of the database this is, as far as callers tell them apart.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Query { source, .. }
            | Self::Open { source, .. }
            | Self::Connect { source, .. }
            | Self::Migrate { source, .. } => source.fault(),
            Self::Commit(source) => source.fault(),
            _ => Fault::Other,
        }
    }
}

/// Gives a database error its operation.
pub(in crate::store) trait Doing<T> {
    /// `action` completes the sentence "cannot …".
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, DatabaseError> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Query { action, source })
    }
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(DatabaseError::from).doing(action)
    }
}
