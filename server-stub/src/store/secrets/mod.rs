//! User secrets: every rule of theirs is judged here, inside the transaction that writes.

mod change;
mod import;
mod rollback;
mod rows;
mod rules;
mod targets;
#[cfg(test)]
mod tests;
mod versions;

use protocol::import::{FormatError, ParseError};
use protocol::problem::{FieldProblem, Problem};
use protocol::rest::UserSecret;
use uuid::Uuid;

use super::engine::{Database, query};
use super::{Doing, StoreError};
use rows::SecretRow;
pub use targets::{PatternError, Targets};
pub use versions::KeepVersions;

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
    /// The former value is not there: of this number, or any at all.
    #[error("no such former value")]
    NoVersion(Option<i64>),
    /// The text to import is no secrets file.
    #[error("cannot parse the secrets file")]
    Parse(#[source] ParseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// User secrets.
#[derive(Clone, Copy)]
pub struct Secrets<'a>(pub(super) &'a Database);

impl Secrets<'_> {
    /// What the server that starts was told about targets: if it is not what the one before was told, every manifest changes.
    pub async fn record_policy(&self, policy: &Targets) -> Result<(), StoreError> {
        let policy = policy.as_text().to_owned();
        self.0.write(move |writing| Box::pin(rows::record_policy(writing, policy))).await
    }

    /// All secrets of a user by name, without values.
    pub async fn list(&self, user: Uuid) -> Result<Vec<UserSecret>, StoreError> {
        let list = query::<SecretRow>("SELECT {columns} FROM user_secrets WHERE user_id = ? ORDER BY name").bind(user);
        Ok(self.0.all(list).await.doing("list the secrets")?.into_iter().map(UserSecret::from).collect())
    }

    /// One secret of a user, without its value.
    pub async fn find(&self, user: Uuid, name: &str) -> Result<Option<UserSecret>, StoreError> {
        if !self.0.can_hold(name) {
            return Ok(None);
        }
        let find = query::<SecretRow>("SELECT {columns} FROM user_secrets WHERE user_id = ? AND name = ?");
        Ok(self.0.optional(find.bind(user).bind(name)).await.doing("read the secret")?.map(UserSecret::from))
    }
}
