//! What a token is, and what may be asked of one.

use std::time::Duration;

use jiff::Timestamp;
use protocol::rest::{Role, Scope, User};
use protocol::secret::Secret;
use serde::Serialize;
use uuid::Uuid;

use super::super::{StoreError, now};

/// A token that an administrator makes lives this long unless they say otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(90 * 24);
/// Longest name of a token.
pub(super) const MAX_NAME: usize = 64;

/// A token just made; the only time that its secret part exists on this side.
#[derive(Debug)]
pub struct NewToken {
    /// Public id, for `token list` and `token revoke`.
    pub id: String,
    /// The whole token.
    pub token: Secret,
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A sign-in. It ends this long after its last use.
    Session,
    /// A token for programs. It ends this long after its creation.
    Token,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Token => "token",
        }
    }
}

/// A token to make.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Unique for the user; empty for none.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// What it may do.
    pub scope: Scope,
    /// How long it lives; none for ever.
    pub lifetime: Option<Duration>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { name: String::new(), kind: Kind::Token, scope: Scope::Secrets, lifetime: Some(DEFAULT_LIFETIME) }
    }
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The user has one of that name.
    #[error("a token with name {0:?} already exists")]
    Exists(String),
    /// A name that nobody could type or read.
    #[error("the name of a token has at most {MAX_NAME} characters, and no control characters")]
    Name,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who has presented a valid session token.
#[derive(Clone, Debug)]
pub struct Session {
    /// The user, who may be suspended.
    pub user: User,
    /// What the user may do.
    pub role: Role,
    /// What the token may do.
    pub scope: Scope,
    /// The token's public id.
    pub token_id: String,
}

/// A token as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct TokenInfo {
    /// Public id.
    pub id: String,
    /// Whose it is.
    #[serde(skip)]
    pub user_id: Uuid,
    /// Whose it is.
    pub username: String,
    /// Its name, or empty.
    pub name: String,
    /// session or token.
    pub kind: String,
    /// What it may do.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; none for never.
    pub expires_at: Option<Timestamp>,
    /// How long it lives.
    #[serde(skip)]
    pub lifetime: Duration,
    /// When it was last used; up to a minute late.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_from: Option<String>,
}

impl TokenInfo {
    /// Whether it is refused by now.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= now())
    }
}
