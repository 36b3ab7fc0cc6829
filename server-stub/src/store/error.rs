//! What can go wrong between a request and the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::data_dir::DataDirError;
use super::key::{KeyError, KeyId};

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
        source: sqlx::Error,
    },
    /// The file is a database of some other program.
    #[error("{} is not a database of coder-server", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database was written by a newer version.
    #[error(
        "database {} is from a newer version of coder-server (schema {found}, this version knows up to {known}); \
         upgrade coder-server",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this program.
        known: i64,
    },
    /// A step of a migration failed; nothing of it was kept.
    #[error("cannot migrate the database to schema {version}")]
    Migrate {
        /// The schema that was to be reached.
        version: i64,
        /// Why.
        source: sqlx::Error,
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
        source: sqlx::Error,
    },
    /// The transaction that held the operation did not become durable.
    #[error("cannot commit to the database")]
    Commit(#[source] Arc<sqlx::Error>),
    /// The encryption keys do not serve.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Stored data does not decrypt: damaged, or put there by someone without the key.
    #[error("value of {what} does not decrypt with key {key}")]
    Undecryptable {
        /// Table and row.
        what: String,
        /// The key that encrypted it.
        key: KeyId,
    },
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

/// Gives a database error its operation.
pub(crate) trait Doing<T> {
    /// `action` completes the sentence "cannot …".
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Query { action, source })
    }
}
