//! The SSH key pair of each user, for git. The private part is sealed like a secret.

mod pair;

use protocol::rest::{AgentGitSshKey, GitSshKey};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::{Doing, KeyId, Place, Store, StoreError, Writing, time};
use pair::Pair;
pub use pair::{Algorithm, AlgorithmError, PairError};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum GitKeyError {
    /// No pair could be made.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The public part of a user's key, made now with `algorithm` where the user has none yet.
    pub async fn git_key(&self, actor: Actor, user: Uuid, algorithm: Algorithm) -> Result<GitSshKey, GitKeyError> {
        self.write(move |writing| {
            Box::pin(async move {
                let row = existing(writing, user, algorithm).await?;
                let key = public(user, &row);
                audit::insert(writing, record(actor, "read", &key)).await?;
                Ok(key)
            })
        })
        .await
    }

    /// Replaces a user's key by a new one; the old private key is gone for good.
    pub async fn regenerate_git_key(
        &self,
        actor: Actor,
        user: Uuid,
        algorithm: Algorithm,
    ) -> Result<GitSshKey, GitKeyError> {
        self.write(move |writing| {
            Box::pin(async move {
                let old = read(writing, user).await?.map(|row| row.get::<String, _>("public_key"));
                insert(writing, user, algorithm).await?;
                let row = existing(writing, user, algorithm).await?;
                let key = public(user, &row);
                let diff = serde_json::json!({
                    "public_key": { "old": old.unwrap_or_default(), "new": key.public_key },
                    "private_key": { "secret": true },
                });
                audit::insert(writing, record(actor, "write", &key).diff(diff)).await?;
                Ok(key)
            })
        })
        .await
    }

    /// Both parts of a user's key, for an agent of a workspace of theirs.
    pub async fn deliver_git_key(
        &self,
        agent: Actor,
        owner: Uuid,
        algorithm: Algorithm,
    ) -> Result<AgentGitSshKey, GitKeyError> {
        let store = self.clone();
        // One transaction: nothing is given out whose record is not on the disk.
        self.write(move |writing| {
            Box::pin(async move {
                let row = existing(writing, owner, algorithm).await?;
                let key = KeyId::stored(row.get("private_key_key_id"));
                let private_key = store.unseal(&key, &place(owner), row.get("private_key"))?;
                let key = public(owner, &row);
                audit::insert(writing, record(agent, "deliver", &key)).await?;
                Ok(AgentGitSshKey { public_key: key.public_key, private_key })
            })
        })
        .await
    }
}

/// Gives a user a new pair, in place of the one they may have.
pub(super) async fn insert(writing: &mut Writing, user: Uuid, algorithm: Algorithm) -> Result<(), GitKeyError> {
    let pair = Pair::generate(algorithm)?;
    let sealed = writing.seal(&place(user), pair.private.expose())?;
    let now = writing.now().as_microsecond();
    sqlx::query(
        "INSERT INTO git_ssh_keys VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (user_id) DO UPDATE SET public_key = ?2, private_key = ?3, private_key_key_id = ?4, updated_at = ?5",
    )
    .bind(user)
    .bind(pair.public)
    .bind(sealed.data)
    .bind(sealed.key.as_str())
    .bind(now)
    .execute(writing.connection())
    .await
    .doing("keep the git key")?;
    Ok(())
}

async fn existing(writing: &mut Writing, user: Uuid, algorithm: Algorithm) -> Result<SqliteRow, GitKeyError> {
    if let Some(row) = read(writing, user).await? {
        return Ok(row);
    }
    insert(writing, user, algorithm).await?;
    Ok(read(writing, user).await?.ok_or(StoreError::Malformed { what: "git_ssh_keys" })?)
}

async fn read(writing: &mut Writing, user: Uuid) -> Result<Option<SqliteRow>, StoreError> {
    sqlx::query("SELECT * FROM git_ssh_keys WHERE user_id = ?")
        .bind(user)
        .fetch_optional(writing.connection())
        .await
        .doing("read the git key")
}

fn public(user_id: Uuid, row: &SqliteRow) -> GitSshKey {
    GitSshKey {
        user_id,
        created_at: time(row.get("created_at")),
        updated_at: time(row.get("updated_at")),
        public_key: row.get("public_key"),
    }
}

fn place(user: Uuid) -> Place {
    Place { table: "git_ssh_keys", user, row: user, column: "private_key" }
}

fn record(actor: Actor, action: &'static str, key: &GitSshKey) -> Record {
    Record::new(actor, action, "git_ssh_key").on(key.user_id, key.public_key.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    async fn delivered(store: &Store, user: Uuid) -> AgentGitSshKey {
        store.deliver_git_key(Actor::Administrator, user, Algorithm::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_user_has_a_key_from_the_start_and_keeps_it() {
        let (dir, store) = testing::store().await;
        let alice = testing::user(&store, "alice").await;
        let made = store.git_key(Actor::Administrator, alice, Algorithm::EcdsaP256).await.unwrap();
        assert!(made.public_key.starts_with("ssh-ed25519 "), "made with the user, not by the first request");
        let first = delivered(&store, alice).await;
        assert_eq!(first.public_key, made.public_key);
        store.close().await;
        drop(store);
        let store = testing::reopen(&dir).await;
        assert_eq!(delivered(&store, alice).await.private_key, first.private_key);
    }

    #[tokio::test]
    async fn a_user_from_before_gets_a_key_when_it_is_asked_for() {
        let (_dir, store) = testing::store().await;
        let alice = testing::user(&store, "alice").await;
        forget(&store).await;
        let made = store.git_key(Actor::Administrator, alice, Algorithm::EcdsaP256).await.unwrap();
        assert!(made.public_key.starts_with("ecdsa-sha2-nistp256 "));
        assert_eq!(delivered(&store, alice).await.public_key, made.public_key);
    }

    #[tokio::test]
    async fn a_new_key_replaces_the_old_one_and_every_use_is_recorded() {
        let (dir, store) = testing::store().await;
        let alice = testing::user(&store, "alice").await;
        let old = delivered(&store, alice).await;
        let new = store.regenerate_git_key(Actor::Administrator, alice, Algorithm::default()).await.unwrap();
        assert_ne!(old.public_key, new.public_key);
        assert!(new.updated_at > new.created_at);
        let delivered = delivered(&store, alice).await;
        assert_eq!(delivered.public_key, new.public_key);
        let entries = store.audit_entries(10).await.unwrap();
        let actions: Vec<_> =
            entries.iter().filter(|it| it.resource == "git_ssh_key").map(|it| it.action.as_str()).collect();
        assert_eq!(actions, ["deliver", "write", "deliver"]);
        store.close().await;
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for line in delivered.private_key.expose().split(|byte| *byte == b'\n').filter(|line| line.len() > 40) {
                assert!(!bytes.windows(line.len()).any(|window| window == line));
            }
        }
    }

    #[tokio::test]
    async fn two_users_have_two_keys_that_cannot_be_swapped() {
        let (_dir, store) = testing::store().await;
        let (alice, bob) = (testing::user(&store, "alice").await, testing::user(&store, "bob").await);
        assert_ne!(delivered(&store, alice).await.public_key, delivered(&store, bob).await.public_key);
        let swap = "UPDATE git_ssh_keys SET private_key = (SELECT private_key FROM git_ssh_keys WHERE user_id = ?)";
        store
            .write::<_, _, StoreError>(move |writing| {
                Box::pin(async move { sqlx::query(swap).bind(bob).execute(writing.connection()).await.doing("swap") })
            })
            .await
            .unwrap();
        let refused = store.deliver_git_key(Actor::Administrator, alice, Algorithm::default()).await;
        assert!(matches!(refused, Err(GitKeyError::Store(StoreError::Undecryptable { .. }))));
    }

    async fn forget(store: &Store) {
        store
            .write::<_, _, StoreError>(|writing| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM git_ssh_keys").execute(writing.connection()).await.doing("forget")
                })
            })
            .await
            .unwrap();
    }
}
