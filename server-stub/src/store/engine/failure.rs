//! What can go wrong in an engine.

use std::fmt;

use sqlx::postgres::PgDatabaseError;

/// A failure of an engine. Its text holds no value.
#[derive(Debug)]
pub struct DatabaseError {
    column: Option<&'static str>,
    source: Option<sqlx::Error>,
}

/// The kinds of failure that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A unique index has the value already.
    Taken,
    /// Another writer was in the way; the operation may succeed if it runs again.
    Conflict,
    /// The connection to the database is lost, or the database is being restarted.
    Lost,
    /// Another process held the database for too long.
    Busy,
    /// The disk is full.
    Full,
    /// Everything else.
    Other,
}

impl Fault {
    /// As a metric says it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Conflict => "conflict",
            Self::Lost => "lost",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::Other => "other",
        }
    }
}

impl DatabaseError {
    pub(super) fn column(name: &'static str, source: sqlx::Error) -> Self {
        Self { column: Some(name), source: Some(source) }
    }

    pub(super) fn unexpected(name: &'static str) -> Self {
        Self { column: Some(name), source: None }
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match &self.source {
            Some(sqlx::Error::Database(error)) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => postgres(error.code()),
                None if error.is_unique_violation() => Fault::Taken,
                None => sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or_default()),
            },
            // A pool is closed when one of its connections was found dead: the next one may do.
            Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed) => {
                Fault::Lost
            }
            Some(sqlx::Error::PoolTimedOut) => Fault::Busy,
            _ => Fault::Other,
        }
    }
}

/// What an error of SQLite means to callers.
fn sqlite(code: i32) -> Fault {
    // The low byte is the primary result code.
    match code & 0xff {
        5 | 6 => Fault::Busy,
        13 => Fault::Full,
        _ => Fault::Other,
    }
}

/// What an error of PostgreSQL means to callers.
fn postgres(code: &str) -> Fault {
    match code {
        // serialization_failure, deadlock_detected
        "40001" | "40P01" => Fault::Conflict,
        "23505" => Fault::Taken,
        // disk_full
        "53100" => Fault::Full,
        // lock_not_available, too_many_connections
        "55P03" | "53300" => Fault::Busy,
        // admin_shutdown, crash_shutdown, cannot_connect_now
        "57P01" | "57P02" | "57P03" => Fault::Lost,
        code if code.starts_with("08") => Fault::Lost,
        _ => Fault::Other,
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(source: sqlx::Error) -> Self {
        Self { column: None, source: Some(source) }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.column, &self.source) {
            (Some(column), Some(source)) => write!(f, "cannot read column {column}: {source}"),
            (Some(column), None) => write!(f, "column {column} has a value that this version does not know"),
            (None, Some(source)) => source.fmt(f),
            (None, None) => f.write_str("the database failed"),
        }
    }
}

impl std::error::Error for DatabaseError {}
