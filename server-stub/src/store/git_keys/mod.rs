//! The SSH key pair of each user, for git. The private part is sealed like a secret.

mod pair;

use jiff::Timestamp;
use protocol::rest::{AgentGitSshKey, GitSshKey};
use protocol::secret::Secret;
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Database, Writing, insert, query, row};
use super::keys::sealed::GIT_PRIVATE_KEY;
use super::keys::{Claim, KeyError, KeyId};
use super::macs::Stored;
use super::{Doing, StoreError};
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

row! {
    struct PairRow {
        user_id: Uuid,
        public_key: String,
        private_key: Vec<u8>,
        private_key_key_id: KeyId,
        created_at: Timestamp,
        updated_at: Timestamp,
        mac: Option<Vec<u8>>,
        mac_key_id: Option<KeyId>,
    }
}

impl PairRow {
    fn public(&self) -> GitSshKey {
        GitSshKey {
            user_id: self.user_id,
            created_at: self.created_at,
            updated_at: self.updated_at,
            public_key: self.public_key.clone(),
        }
    }
}

/// The SSH key pair of each user, for git.
#[derive(Clone, Copy)]
pub struct GitKeys<'a>(pub(super) &'a Database);

impl GitKeys<'_> {
    /// The public part of a user's key, made now with `algorithm` where the user has none yet.
    pub async fn public(&self, actor: Actor, user: Uuid, algorithm: Algorithm) -> Result<GitSshKey, GitKeyError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let pair = existing(writing, user, algorithm).await?;
                    // A public key that somebody else put there would let them in wherever the user adds it.
                    private(writing, &pair)?;
                    let key = pair.public();
                    audit::insert(writing, record(actor, "read", &key)).await?;
                    Ok(key)
                })
            })
            .await
    }

    /// Replaces a user's key by a new one; the old private key is gone for good.
    pub async fn regenerate(&self, actor: Actor, user: Uuid, algorithm: Algorithm) -> Result<GitSshKey, GitKeyError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let old = read(writing, user).await?.map(|row| row.public_key);
                    insert(writing, user, algorithm).await?;
                    let key = existing(writing, user, algorithm).await?.public();
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
    pub async fn deliver(
        &self,
        agent: Actor,
        owner: Uuid,
        algorithm: Algorithm,
    ) -> Result<AgentGitSshKey, GitKeyError> {
        // One transaction: nothing is given out whose record is not on the disk.
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let pair = existing(writing, owner, algorithm).await?;
                    let private_key = private(writing, &pair)?;
                    let key = pair.public();
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
    let sealed = writing.seal(&GIT_PRIVATE_KEY.of(user, user), pair.private.expose()).await?;
    let mac = writing.mac(&Claim::git_key(user, &pair.public, &pair.private)).await?;
    let insert = insert!("git_ssh_keys" {
        user_id: user,
        public_key: pair.public,
        private_key: sealed.data,
        private_key_key_id: sealed.key,
        created_at: writing.now(),
        updated_at: writing.now(),
        mac: mac.data,
        mac_key_id: mac.key,
    } "ON CONFLICT (user_id) DO UPDATE SET public_key = excluded.public_key, private_key = excluded.private_key, \
       private_key_key_id = excluded.private_key_key_id, updated_at = excluded.updated_at, mac = excluded.mac, \
       mac_key_id = excluded.mac_key_id");
    writing.sql.execute(insert).await.doing("keep the git key")?;
    Ok(())
}

async fn existing(writing: &mut Writing, user: Uuid, algorithm: Algorithm) -> Result<PairRow, GitKeyError> {
    if let Some(row) = read(writing, user).await? {
        return Ok(row);
    }
    insert(writing, user, algorithm).await?;
    Ok(read(writing, user).await?.ok_or(StoreError::Malformed { what: "git_ssh_keys" })?)
}

/// The private part, if the public one belongs to it.
fn private(writing: &Writing, pair: &PairRow) -> Result<Secret, StoreError> {
    let place = GIT_PRIVATE_KEY.of(pair.user_id, pair.user_id);
    let private = writing.unseal(&pair.private_key_key_id, &place, &pair.private_key)?;
    let claim = Claim::git_key(pair.user_id, &pair.public_key, &private);
    let stored = Stored { mac: pair.mac.clone(), key: pair.mac_key_id.clone() };
    if stored.proves(writing.keys(), &claim) {
        return Ok(private);
    }
    Err(KeyError::Unproven { what: format!("git_ssh_keys {}", pair.user_id) }.into())
}

async fn read(writing: &mut Writing, user: Uuid) -> Result<Option<PairRow>, StoreError> {
    let find = query::<PairRow>("SELECT {columns} FROM git_ssh_keys WHERE user_id = ?").bind(user);
    writing.sql.optional(find).await.doing("read the git key")
}

fn record(actor: Actor, action: &'static str, key: &GitSshKey) -> Record {
    Record::new(actor, action, "git_ssh_key").on(key.user_id, key.public_key.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, testing};

    async fn delivered(store: &Store, user: Uuid) -> AgentGitSshKey {
        store.git_keys().deliver(Actor::Administrator, user, Algorithm::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_user_has_a_key_from_the_start_and_keeps_it() {
        let (dir, store) = testing::store().await;
        let alice = testing::user(&store, "alice").await;
        let made = store.git_keys().public(Actor::Administrator, alice, Algorithm::EcdsaP256).await.unwrap();
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
        let made = store.git_keys().public(Actor::Administrator, alice, Algorithm::EcdsaP256).await.unwrap();
        assert!(made.public_key.starts_with("ecdsa-sha2-nistp256 "));
        assert_eq!(delivered(&store, alice).await.public_key, made.public_key);
    }

    #[tokio::test]
    async fn a_new_key_replaces_the_old_one_and_every_use_is_recorded() {
        let (dir, store) = testing::store().await;
        let alice = testing::user(&store, "alice").await;
        let old = delivered(&store, alice).await;
        let new = store.git_keys().regenerate(Actor::Administrator, alice, Algorithm::default()).await.unwrap();
        assert_ne!(old.public_key, new.public_key);
        assert!(new.updated_at > new.created_at);
        let delivered = delivered(&store, alice).await;
        assert_eq!(delivered.public_key, new.public_key);
        let entries = store.audit().newest(10).await.unwrap();
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
        testing::run(&store, crate::store::engine::command(swap).bind(bob)).await;
        let refused = store.git_keys().deliver(Actor::Administrator, alice, Algorithm::default()).await;
        assert!(matches!(refused, Err(GitKeyError::Store(StoreError::Keys(KeyError::Undecryptable { .. })))));
    }

    #[tokio::test]
    async fn a_public_key_that_somebody_put_there_is_not_given_out() {
        let (_dir, store) = testing::store().await;
        let (alice, bob) = (testing::user(&store, "alice").await, testing::user(&store, "bob").await);
        let swap = "UPDATE git_ssh_keys SET public_key = (SELECT public_key FROM git_ssh_keys WHERE user_id = ?)";
        testing::run(&store, crate::store::engine::command(swap).bind(bob)).await;
        let keys = store.git_keys();
        let shown = keys.public(Actor::Administrator, alice, Algorithm::default()).await;
        assert!(matches!(shown, Err(GitKeyError::Store(StoreError::Keys(KeyError::Unproven { .. })))));
        assert!(keys.deliver(Actor::Administrator, alice, Algorithm::default()).await.is_err());
        keys.public(Actor::Administrator, bob, Algorithm::default()).await.unwrap();
        keys.regenerate(Actor::Administrator, alice, Algorithm::default()).await.unwrap();
        keys.public(Actor::Administrator, alice, Algorithm::default()).await.unwrap();
    }

    async fn forget(store: &Store) {
        testing::execute(store, "DELETE FROM git_ssh_keys").await;
    }
}
