//! The address of a PostgreSQL database.

use std::str::FromStr as _;

use protocol::secret::Secret;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::super::error::StoreError;

/// Statements that one connection keeps prepared: every statement of the store.
const STATEMENTS: usize = 256;

/// Parameters of a URL that the library uses.
const USED: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// Parameters of libpq that mean nothing here.
const IGNORED: [&str; 14] = [
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "passfile",
    "sslcompression",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

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
        let text = without_ignored(text)?;
        let options = PgConnectOptions::from_str(&text).map_err(|_| StoreError::DatabaseUrl {
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

/// The URL without parameters that libpq knows and the library does not. The library would log them with their values, and a misspelt
/// one may be a password.
fn without_ignored(url: &str) -> Result<String, StoreError> {
    let Some((place, parameters)) = url.split_once('?') else { return Ok(url.to_owned()) };
    let mut kept = Vec::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if USED.contains(&name) {
            kept.push(parameter);
        } else if let Some(name) = IGNORED.iter().find(|ignored| **ignored == name) {
            tracing::warn!("ignoring the parameter {name} of the database URL");
        } else {
            return Err(StoreError::DatabaseUrl {
                problem: "it has a parameter that libpq does not know; in a password, write ? as %3F and & as %26",
            });
        }
    }
    Ok(if kept.is_empty() { place.to_owned() } else { format!("{place}?{}", kept.join("&")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_used_ignored_or_refused() {
        let kept = |url: &str| without_ignored(url).map_err(|error| error.to_string());
        for same in ["postgres://a@b/c", "postgres://a:b@c/d?sslmode=require&options=-csearch_path%3Dx"] {
            assert_eq!(kept(same).as_deref(), Ok(same));
        }
        let url = "postgres://a@b/c?connect_timeout=10&sslmode=disable&channel_binding=prefer";
        assert_eq!(kept(url).as_deref(), Ok("postgres://a@b/c?sslmode=disable"));
        for wrong in
            ["postgres://a@b/c?pasword=hunter2", "postgres://a:x?hunter2@b/c", "postgres://a@b/c?sslmode=x&hunter2"]
        {
            let refused = kept(wrong).unwrap_err();
            assert!(refused.contains("libpq") && !refused.contains("hunter2"), "{refused}");
        }
    }
}
