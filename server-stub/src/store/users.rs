//! Users.

use protocol::rest::User;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::audit::{Actor, Record};
use super::git_keys::{self, Algorithm, GitKeyError};
use super::{Doing, Store, StoreError, audit, time};

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

impl Store {
    /// Makes a user, with a git key of the default algorithm.
    pub async fn create_user(&self, name: &str) -> Result<User, UserError> {
        self.create_user_with(name, Algorithm::default()).await
    }

    /// Makes a user, with a git key of this algorithm.
    pub async fn create_user_with(&self, name: &str, algorithm: Algorithm) -> Result<User, UserError> {
        if !is_name(name) {
            return Err(UserError::Name(name.to_owned()));
        }
        let name = name.to_owned();
        self.write(move |writing| {
            Box::pin(async move {
                let (id, now) = (Uuid::new_v4(), writing.now());
                let made = sqlx::query("INSERT INTO users VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                    .bind(id)
                    .bind(&name)
                    .bind(now.as_microsecond())
                    .execute(writing.connection())
                    .await
                    .doing("create the user")?;
                if made.rows_affected() == 0 {
                    return Err(UserError::Exists(name));
                }
                git_keys::insert(writing, id, algorithm).await.map_err(UserError::GitKey)?;
                audit::insert(writing, Record::new(Actor::Administrator, "create", "user").on(id, &name)).await?;
                Ok(User { id, username: name, created_at: now, status: "active".into() })
            })
        })
        .await
    }

    /// The user of that id or name, whatever its letter case.
    pub async fn user(&self, id_or_name: &str) -> Result<Option<User>, StoreError> {
        let found = match Uuid::try_parse(id_or_name) {
            Ok(id) => sqlx::query("SELECT id, username, created_at FROM users WHERE id = ?").bind(id),
            Err(_) => {
                sqlx::query("SELECT id, username, created_at FROM users WHERE username = ?").bind(id_or_name.to_owned())
            }
        };
        let found = found.fetch_optional(self.reader()).await.doing("read the user")?;
        Ok(found.map(|row| from_row(&row)))
    }

    /// As [`Store::user`], for a caller to whom an unknown one is an error.
    pub async fn require_user(&self, id_or_name: &str) -> Result<User, UserError> {
        self.user(id_or_name).await?.ok_or_else(|| UserError::Unknown(id_or_name.to_owned()))
    }

    /// Whether there is any user.
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(self.reader()).await;
        found.map(|row| row.get(0)).doing("look for users")
    }

    /// Identifies the deployment, for as long as its database lives.
    pub async fn deployment_id(&self) -> Result<Uuid, StoreError> {
        let found = sqlx::query("SELECT id FROM deployment").fetch_one(self.reader()).await;
        found.map(|row| row.get(0)).doing("read the deployment id")
    }
}

fn from_row(row: &SqliteRow) -> User {
    User { id: row.get(0), username: row.get(1), created_at: time(row.get(2)), status: "active".into() }
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
        let made = store.create_user("Alice").await.unwrap();
        assert_eq!(store.user("aLICE").await.unwrap().unwrap(), made);
        assert_eq!(store.user(&made.id.to_string()).await.unwrap().unwrap(), made);
        assert_eq!(store.user("bob").await.unwrap(), None);
        assert!(matches!(store.create_user("alice").await, Err(UserError::Exists(_))));
    }
}
