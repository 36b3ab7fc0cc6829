//! User secrets: every rule of theirs is judged here, inside the transaction that writes.

mod batch;
mod holdings;
#[cfg(test)]
mod tests;
mod write;

use protocol::import::{FormatError, ParseError};
use protocol::problem::{FieldProblem, Problem};
use protocol::rest::UserSecret;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::keyring::Place;
use super::{Doing, Store, StoreError, time};

/// Whether secrets may be delivered as files on this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePaths {
    /// As their owners want.
    Allowed,
    /// The administrator has turned file targets off. Stored ones are kept, no new ones are taken.
    Disabled,
}

impl FilePaths {
    /// `stored` is the path before the change; leaving it as it is, or clearing it, is always allowed.
    fn check(self, stored: &str, wanted: &str) -> Option<FieldProblem> {
        let detail = "file paths are disabled by the deployment administrator; clear file_path or use env_name";
        let refused = self == Self::Disabled && !wanted.is_empty() && wanted != stored;
        refused.then(|| FieldProblem::new("file_path", detail))
    }
}

/// Why a secret was not stored, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Fields break rules; all faults of the request.
    #[error("validation failed")]
    Invalid(Vec<FieldProblem>),
    /// Names or targets are in use by other secrets of the user.
    #[error("{message}")]
    Conflict {
        /// For the user.
        message: &'static str,
        /// Each of them.
        problems: Vec<FieldProblem>,
    },
    /// A cap of the user would be passed.
    #[error("{0}")]
    Cap(Problem),
    /// The format of a secrets file is missing or unknown.
    #[error("cannot read the secrets file")]
    Format(#[source] FormatError),
    /// An update without any field.
    #[error("no field to update")]
    NoFields,
    /// The user has no secret of that name.
    #[error("no such secret")]
    NotFound,
    /// The text to import is no secrets file.
    #[error("cannot parse the secrets file")]
    Parse(#[source] ParseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// All secrets of a user by name, without values.
    pub async fn secrets(&self, user: Uuid) -> Result<Vec<UserSecret>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, description, env_name, file_path, enabled, created_at, updated_at
             FROM user_secrets WHERE user_id = ? ORDER BY name",
        )
        .bind(user)
        .fetch_all(self.reader())
        .await
        .doing("list the secrets")?;
        Ok(rows.iter().map(from_row).collect())
    }

    /// One secret of a user, without its value.
    pub async fn secret(&self, user: Uuid, name: &str) -> Result<Option<UserSecret>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, description, env_name, file_path, enabled, created_at, updated_at
             FROM user_secrets WHERE user_id = ? AND name = ?",
        )
        .bind(user)
        .bind(name)
        .fetch_optional(self.reader())
        .await
        .doing("read the secret")?;
        Ok(row.as_ref().map(from_row))
    }
}

fn from_row(row: &SqliteRow) -> UserSecret {
    UserSecret {
        id: row.get(0),
        name: row.get(1),
        description: row.get(2),
        env_name: row.get(3),
        file_path: row.get(4),
        enabled: row.get(5),
        created_at: time(row.get(6)),
        updated_at: time(row.get(7)),
    }
}

/// Where the value of a secret is sealed to.
fn place(user: Uuid, secret: Uuid) -> Place {
    Place { table: "user_secrets", user, row: secret, column: "value" }
}
