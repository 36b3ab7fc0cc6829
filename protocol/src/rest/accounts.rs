//! Users, roles and tokens.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::null_is_default;
use crate::secret::{self, Secret};

/// What a user may do besides managing their own secrets and workspaces. No role reads a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    #[default]
    Member,
    /// Reads the audit log, and lists users and workspaces.
    Auditor,
    /// Manages users, and lists, shows and deletes workspaces. Coder's word for an administrator.
    Owner,
}

impl Role {
    /// Coder's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Auditor => "auditor",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no role.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is member, auditor or owner")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        [Self::Member, Self::Auditor, Self::Owner].into_iter().find(|role| role.as_str() == text).ok_or(NoRole)
    }
}

/// What a token may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Manages secrets, and reads everything that the user may read. It gets no value out of the server.
    #[default]
    Secrets,
    /// Also defines workspaces, which receive the values of secrets.
    Workspaces,
}

impl Scope {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Workspaces => "workspaces",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no scope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is secrets or workspaces")]
pub struct NoScope;

impl FromStr for Scope {
    type Err = NoScope;

    /// `all`, Coder's only scope of a person's token, is the usual one here: what can do more is asked for by its name.
    fn from_str(text: &str) -> Result<Self, NoScope> {
        match text {
            "" | "all" | "coder:all" | "secrets" => Ok(Self::Secrets),
            "workspaces" => Ok(Self::Workspaces),
            _ => Err(NoScope),
        }
    }
}

/// A role of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRole {
    /// Its name, such as `owner`. Everybody is a member, so that is not listed.
    pub name: String,
    /// What people see.
    #[serde(default)]
    pub display_name: String,
}

impl From<Role> for Vec<UserRole> {
    fn from(role: Role) -> Self {
        let display_name = match role {
            Role::Member => return Self::new(),
            Role::Auditor => "Auditor",
            Role::Owner => "Owner",
        };
        vec![UserRole { name: role.to_string(), display_name: display_name.to_owned() }]
    }
}

/// `GET /users/{user}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Stable identifier.
    pub id: Uuid,
    /// Login name.
    pub username: String,
    /// When the user was made.
    pub created_at: Timestamp,
    /// `active` or `suspended`; the real command line expects the field.
    #[serde(default)]
    pub status: String,
    /// What the user may do besides managing their own.
    #[serde(default, deserialize_with = "null_is_default")]
    pub roles: Vec<UserRole>,
}

/// `GET /users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// By name.
    pub users: Vec<User>,
    /// How many there are.
    pub count: usize,
}

/// `PUT /users/{user}/roles`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRolesRequest {
    /// None, or one of `auditor` and `owner`.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// `POST /users/{user}/keys` and `POST /users/{user}/keys/tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTokenRequest {
    /// Nanoseconds, as Go counts; zero for the server's default.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub lifetime: i64,
    /// See [`Scope`]. Empty and `all` mean `secrets`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// The name, unique for the user; the server makes one if it is empty.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub token_name: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The answer to [`CreateTokenRequest`]: the one time that the token is shown.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreatedToken {
    /// The whole token.
    #[serde(serialize_with = "secret::expose_on_the_wire")]
    pub key: Secret,
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Public id: the token up to its hyphen.
    pub id: String,
    /// Whose it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub user_id: Uuid,
    /// The name of that user; in lists only.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// When it was last used, up to a minute late; the year 1 for never, as Go has it.
    #[serde(default = "never")]
    pub last_used: Timestamp,
    /// From when on it is refused.
    #[serde(default = "never")]
    pub expires_at: Timestamp,
    /// When it was made.
    #[serde(default = "never")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(default = "never")]
    pub updated_at: Timestamp,
    /// `token` for an API token, `password` for a session, which slides.
    #[serde(default)]
    pub login_type: String,
    /// See [`Scope`]; Coder's have others.
    #[serde(default)]
    pub scope: String,
    /// Its name; empty for a session.
    #[serde(default)]
    pub token_name: String,
    /// How long it lives from its creation, or for a session from its last use.
    #[serde(default)]
    pub lifetime_seconds: i64,
}

/// Go's zero time, which clients of Coder take for "not yet".
#[must_use]
pub fn never() -> Timestamp {
    Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `GET /users/{user}/keys/tokens/tokenconfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConfig {
    /// Nanoseconds.
    pub max_token_lifetime: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_coder_ask_for_no_more_than_the_usual_one() {
        for text in ["", "all", "coder:all", "secrets"] {
            assert_eq!(text.parse(), Ok(Scope::Secrets));
        }
        assert_eq!("workspaces".parse(), Ok(Scope::Workspaces));
        assert_eq!("application_connect".parse::<Scope>(), Err(NoScope));
    }

    #[test]
    fn never_is_the_year_one() {
        assert_eq!(never().to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn a_list_of_another_server_is_read() {
        let key: ApiKey =
            serde_json::from_str(r#"{"id":"abc","scope":"all","last_used":"0001-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((key.scope.as_str(), key.last_used), ("all", never()));
    }
}
