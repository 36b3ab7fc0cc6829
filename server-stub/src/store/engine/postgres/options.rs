//! The address of a PostgreSQL database.

use std::str::FromStr as _;

use protocol::secret::Secret;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::error::StoreError;

/// Statements that one connection keeps prepared: every statement of the store.
const STATEMENTS: usize = 256;

/// Where a PostgreSQL database is: libpq's URL, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&options=-csearch_path%3DSCHEMA`.
#[derive(Clone)]
pub struct DatabaseUrl(PgConnectOptions);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_string())
    }
}

/// Without the password: `postgres://USER@HOST:PORT/DATABASE`.
impl std::fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (user, database) = (self.0.get_username(), self.0.get_database().unwrap_or(self.0.get_username()));
        match self.0.get_socket() {
            Some(socket) => write!(f, "postgres://{user}@/{database}?host={}", socket.display()),
            None => write!(f, "postgres://{user}@{}:{}/{database}", self.0.get_host(), self.0.get_port()),
        }
    }
}

impl DatabaseUrl {
    /// Reads a URL. What is wrong with it is said without quoting it: it may have a password.
    pub fn parse(url: &Secret) -> Result<Self, StoreError> {
        let text = url.expose_str().unwrap_or_default().trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(StoreError::DatabaseUrl { problem: "it does not start with postgres://" });
        }
        let options = PgConnectOptions::from_str(text).map_err(|_| StoreError::DatabaseUrl {
            problem: "it is not a URL like postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full",
        })?;
        let options = options
            .application_name("coder-server")
            .statement_cache_capacity(STATEMENTS)
            // Messages of statements have their own level and no values; the library's log would have the statements.
            .disable_statement_logging();
        Ok(Self(options))
    }

    pub(in crate::store) fn options(&self) -> PgConnectOptions {
        self.0.clone()
    }

    /// Whether the connection may be read on its way.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.0.get_socket().is_none()
            && matches!(self.0.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer)
    }
}
