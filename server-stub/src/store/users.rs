//! Users.

use jiff::Timestamp;
use protocol::rest::{Role, User};
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Database, Writing, insert, query, row};
use super::git_keys::{self, Algorithm, GitKeyError};
use super::{Doing, StoreError};

/// Longest user name, as in Coder.
const MAX_NAME: usize = 32;

/// Why a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name is not one that fits into URLs, tables and file names alike.
    #[error(
        "\"{0}\" is not a user name: 1 to {MAX_NAME} letters and digits, single hyphens between them, and not \"me\""
    )]
    Name(String),
    /// The name, in whatever letter case, is in use.
    #[error("user {0} exists already; for a further token: coder-server token create {0}")]
    Exists(String),
    /// There is no such user.
    #[error("there is no user {0}")]
    Unknown(String),
    /// The user's git key could not be made.
    #[error(transparent)]
    GitKey(GitKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

row! {
    pub(super) struct UserRow {
        pub(super) id: Uuid,
        pub(super) username: String,
        created_at: Timestamp,
        role: String,
        suspended_at: Option<Timestamp>,
    }
}

impl UserRow {
    /// The user, with the role as this version knows it.
    pub(super) fn account(self) -> Account {
        let Self { id, username, created_at, role: word, suspended_at } = self;
        Account { id, username, created_at, role: role(&word), suspended_at }
    }
}

/// A user as the database knows them.
#[derive(Clone, Debug)]
pub struct Account {
    /// Stable identifier.
    pub id: Uuid,
    /// Login name.
    pub username: String,
    /// When the user was made.
    pub created_at: Timestamp,
    /// What the user may do.
    pub role: Role,
    /// Since when nobody is let in as this user, nor any agent of theirs.
    pub suspended_at: Option<Timestamp>,
}

impl From<Account> for User {
    fn from(account: Account) -> Self {
        let status = if account.suspended_at.is_some() { SUSPENDED } else { "active" };
        Self {
            id: account.id,
            username: account.username,
            created_at: account.created_at,
            status: status.into(),
            roles: account.role.into(),
        }
    }
}

/// The status of a user who is not let in.
pub const SUSPENDED: &str = "suspended";

/// The role of a word in the database. One that this version does not know may do nothing.
pub(super) fn role(word: &str) -> Role {
    word.parse().unwrap_or_default()
}

/// Users.
#[derive(Clone, Copy)]
pub struct Users<'a>(pub(super) &'a Database);

impl Users<'_> {
    /// Makes a user, with a git key of the default algorithm.
    pub async fn create(&self, name: &str) -> Result<User, UserError> {
        self.create_with(name, Algorithm::default()).await
    }

    /// Makes a user, with a git key of this algorithm.
    pub async fn create_with(&self, name: &str, algorithm: Algorithm) -> Result<User, UserError> {
        if !is_name(name) {
            return Err(UserError::Name(name.to_owned()));
        }
        let name = name.to_owned();
        self.0.write(move |writing| Box::pin(create(writing, name, algorithm))).await
    }

    /// The user of that id or name, whatever its letter case.
    pub async fn find(&self, id_or_name: &str) -> Result<Option<User>, StoreError> {
        if !self.0.can_hold(id_or_name) {
            return Ok(None);
        }
        let find = match Uuid::try_parse(id_or_name) {
            Ok(id) => query::<UserRow>("SELECT {columns} FROM users WHERE id = ?").bind(id),
            Err(_) => named(id_or_name),
        };
        Ok(self.0.optional(find).await.doing("read the user")?.map(|row| row.account().into()))
    }

    /// All users, by name.
    pub async fn list(&self) -> Result<Vec<User>, StoreError> {
        let rows = self.0.all(query::<UserRow>("SELECT {columns} FROM users ORDER BY {fold username}"));
        Ok(rows.await.doing("list the users")?.into_iter().map(|row| row.account().into()).collect())
    }

    /// As [`Users::find`], for a caller to whom an unknown one is an error.
    pub async fn require(&self, id_or_name: &str) -> Result<User, UserError> {
        self.find(id_or_name).await?.ok_or_else(|| UserError::Unknown(id_or_name.to_owned()))
    }

    /// Whether there is any user.
    pub async fn any(&self) -> Result<bool, StoreError> {
        let found = self.0.optional(query::<UserRow>("SELECT {columns} FROM users LIMIT 1")).await;
        found.map(|row| row.is_some()).doing("look for users")
    }
}

/// The user of that name, whatever its letter case.
pub(super) fn named(name: &str) -> super::engine::Query<UserRow> {
    query("SELECT {columns} FROM users WHERE {fold username} = {fold ?}").bind(name)
}

async fn create(writing: &mut Writing, name: String, algorithm: Algorithm) -> Result<User, UserError> {
    let (id, now) = (Uuid::new_v4(), writing.now());
    // Somebody has to be able to manage the others.
    let first = writing.sql.optional(query::<UserRow>("SELECT {columns} FROM users LIMIT 1")).await;
    let role = if first.doing("look for users")?.is_none() { Role::Owner } else { Role::Member };
    let insert = insert!("users" { id: id, username: &name, created_at: now, role: role.as_str() }
        "ON CONFLICT DO NOTHING");
    if writing.sql.execute(insert).await.doing("create the user")? == 0 {
        return Err(UserError::Exists(name));
    }
    git_keys::insert(writing, id, algorithm).await.map_err(UserError::GitKey)?;
    let record = Record::new(Actor::Administrator, "create", "user").on(id, &name);
    let diff = serde_json::json!({ "role": { "old": "", "new": role.as_str() } });
    audit::insert(writing, record.diff(diff)).await?;
    Ok(Account { id, username: name, created_at: now, role, suspended_at: None }.into())
}

/// A name can be no UUID and not `me`, because both mean something else in a URL.
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
        && !name.eq_ignore_ascii_case("me")
        && Uuid::try_parse(name).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[test]
    fn names() {
        for good in ["a", "alice", "Alice-2", "0", &"g".repeat(32)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-", "a-", "-a", "a--b", "a_b", "a b", "me", "ME", "é", "a/b", &"g".repeat(33), &"0".repeat(32)]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_user_is_found_by_id_and_by_name_in_any_letter_case() {
        let (_dir, store) = testing::store().await;
        let made = store.users().create("Alice").await.unwrap();
        assert_eq!(store.users().find("aLICE").await.unwrap().unwrap(), made);
        assert_eq!(store.users().find(&made.id.to_string()).await.unwrap().unwrap(), made);
        assert_eq!(store.users().find("bob").await.unwrap(), None);
        assert!(matches!(store.users().create("alice").await, Err(UserError::Exists(_))));
    }
}
