//! Session tokens: shown once, kept as a hash.

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use protocol::rest::User;
use protocol::secret::Secret;
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Database, Writing, command, insert, query, row};
use super::keys::{Claim, KeyId, random};
use super::macs::Stored;
use super::{Doing, StoreError};

/// Characters of a token's public id: 50 random bits of it.
const ID_LENGTH: usize = 10;
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The part that proves: 32 random bytes in hexadecimal digits.
const SECRET_LENGTH: usize = 64;

/// A token just made; the only time that its secret part exists on this side.
#[derive(Debug)]
pub struct NewToken {
    /// Public id, for `token list` and `token revoke`.
    pub id: String,
    /// The whole token.
    pub token: Secret,
}

/// Who has presented a valid session token.
#[derive(Clone, Debug)]
pub struct Session {
    /// The user.
    pub user: User,
    /// The token's public id.
    pub token_id: String,
}

/// A token as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct TokenInfo {
    /// Public id.
    pub id: String,
    /// Whose it is.
    pub username: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used; up to a minute late.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_from: Option<String>,
}

/// Uses of one token from one address since the last time they were recorded.
#[derive(Clone, Debug)]
pub struct TokenUse {
    /// Who.
    pub actor: Actor,
    /// Public id of the session token; none for an agent's.
    pub token_id: Option<String>,
    /// When last.
    pub last: Timestamp,
    /// How often.
    pub requests: u64,
}

row! {
    struct SessionRow {
        secret_hash: Vec<u8> = "t.secret_hash",
        mac: Option<Vec<u8>> = "t.mac",
        mac_key_id: Option<KeyId> = "t.mac_key_id",
        user_id: Uuid = "u.id",
        username: String = "u.username",
        created_at: Timestamp = "u.created_at",
    }
}

row! {
    struct TokenRow {
        id: String = "t.id",
        username: String = "u.username",
        created_at: Timestamp = "t.created_at",
        last_used_at: Option<Timestamp> = "t.last_used_at",
        last_used_from: Option<String> = "t.last_used_from",
    }
}

row! {
    struct RevokedRow { user_id: Uuid }
}

/// Session tokens.
#[derive(Clone, Copy)]
pub struct Tokens<'a>(pub(super) &'a Database);

impl Tokens<'_> {
    /// Makes a token for a user.
    pub async fn create(&self, user: &User) -> Result<NewToken, StoreError> {
        let (id, secret) = (token_id()?, token_secret()?);
        let hash = hash(&secret);
        let token = NewToken { id: id.clone(), token: Secret::new([id.as_bytes(), b"-", secret.expose()].concat()) };
        let (user_id, username) = (user.id, user.username.clone());
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let now = writing.now();
                    let mac = writing.mac(&Claim::session_token(&id, user_id, &hash)).await?;
                    let insert = insert!("session_tokens" {
                        id: &id,
                        user_id: user_id,
                        secret_hash: hash,
                        created_at: now,
                        mac: mac.data,
                        mac_key_id: mac.key,
                    });
                    writing.sql.execute(insert).await.doing("create the token")?;
                    let record = Record::new(Actor::Administrator, "create", "session_token");
                    audit::insert(writing, record.on(user_id, &format!("{username} {id}"))).await
                })
            })
            .await?;
        Ok(token)
    }

    /// Whose session token this is, if it is one.
    pub async fn session(&self, token: &Secret) -> Result<Option<Session>, StoreError> {
        let Some((id, secret)) = split(token) else { return Ok(None) };
        let find = query::<SessionRow>(
            "SELECT {columns} FROM session_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = ?",
        );
        let found = self.0.optional(find.bind(id)).await.doing("look up the session token")?;
        let Some(row) = found.filter(|row| row.secret_hash.ct_eq(&Sha256::digest(secret)).into()) else {
            return Ok(None);
        };
        let (stored, claim) =
            (Stored { mac: row.mac, key: row.mac_key_id }, Claim::session_token(id, row.user_id, &row.secret_hash));
        if !stored.proves(self.0.keys(), &claim) {
            tracing::warn!(
                token = id,
                user = row.username,
                "refused a session token that no server with the keys made"
            );
            return Ok(None);
        }
        let user =
            User { id: row.user_id, username: row.username, created_at: row.created_at, status: "active".into() };
        Ok(Some(Session { user, token_id: id.to_owned() }))
    }

    /// All tokens, by user and age.
    pub async fn list(&self) -> Result<Vec<TokenInfo>, StoreError> {
        let rows = self.0.all(query::<TokenRow>(
            "SELECT {columns} FROM session_tokens t JOIN users u ON u.id = t.user_id \
             ORDER BY {fold u.username}, t.created_at",
        ));
        let info = |row: TokenRow| TokenInfo {
            id: row.id,
            username: row.username,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            last_used_from: row.last_used_from,
        };
        Ok(rows.await.doing("list the tokens")?.into_iter().map(info).collect())
    }

    /// Makes a token useless at once; false when there is none of that id.
    pub async fn revoke(&self, id: &str, actor: Actor) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let delete = query::<RevokedRow>("DELETE FROM session_tokens WHERE id = ? RETURNING {columns}");
                    let revoked = writing.sql.optional(delete.bind(&id)).await.doing("revoke the token")?;
                    let Some(RevokedRow { user_id }) = revoked else { return Ok(false) };
                    audit::insert(writing, Record::new(actor, "delete", "session_token").on(user_id, &id)).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Records uses, all in one transaction.
    pub async fn record_uses(&self, uses: Vec<TokenUse>) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    for used in uses {
                        record_use(writing, used).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

async fn record_use(writing: &mut Writing, used: TokenUse) -> Result<(), StoreError> {
    if let Some(id) = &used.token_id {
        let update = command("UPDATE session_tokens SET last_used_at = ?, last_used_from = ? WHERE id = ?")
            .bind(used.last)
            .bind(used.actor.address().map(|address: IpAddr| address.to_canonical().to_string()))
            .bind(id);
        writing.sql.execute(update).await.doing("record the use of a token")?;
    }
    let resource = if used.token_id.is_some() { "session_token" } else { "agent_token" };
    let target = used.token_id.as_deref().unwrap_or(used.actor.name()).to_owned();
    let record = Record::new(used.actor.clone(), "use", resource)
        .on(used.actor.id(), &target)
        .diff(serde_json::json!({ "requests": used.requests }));
    audit::insert(writing, record).await
}

fn token_id() -> Result<String, StoreError> {
    let bytes: [u8; ID_LENGTH] = random()?;
    Ok(bytes.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])).collect())
}

fn token_secret() -> Result<Secret, StoreError> {
    let bytes: [u8; SECRET_LENGTH / 2] = random()?;
    let mut text = String::with_capacity(SECRET_LENGTH);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Secret::from(text))
}

/// The secret is random, so a plain hash is as good as a slow one.
fn hash(secret: &Secret) -> [u8; 32] {
    Sha256::digest(secret.expose()).into()
}

/// Public id and secret part; none for what cannot be a token, which then costs no look-up.
fn split(token: &Secret) -> Option<(&str, &[u8])> {
    let (id, secret) = token.expose_str().ok()?.split_once('-')?;
    (id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && secret.len() == SECRET_LENGTH)
        .then_some((id, secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn a_token_is_valid_until_revoked_and_never_stored() {
        let (dir, store) = testing::store().await;
        let user = store.users().create("alice").await.unwrap();
        let made = store.tokens().create(&user).await.unwrap();
        let session = store.tokens().session(&made.token).await.unwrap().unwrap();
        assert_eq!((session.user, &session.token_id), (user, &made.id));
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let secret = &made.token.expose()[ID_LENGTH + 1..];
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
        assert!(store.tokens().revoke(&made.id, Actor::Administrator).await.unwrap());
        assert!(!store.tokens().revoke(&made.id, Actor::Administrator).await.unwrap());
        assert!(store.tokens().session(&made.token).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_token_with_another_secret_part_is_none() {
        let (_dir, store) = testing::store().await;
        let user = store.users().create("alice").await.unwrap();
        let made = store.tokens().create(&user).await.unwrap();
        let text = made.token.expose_str().unwrap();
        let last = if text.ends_with('0') { "1" } else { "0" };
        for bad in [
            format!("{}{last}", &text[..text.len() - 1]),
            made.id,
            String::new(),
            "-".into(),
            "x".repeat(75),
            format!("a\0{}", &text[2..]),
        ] {
            assert!(store.tokens().session(&bad.into()).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn uses_are_recorded_with_time_and_place() {
        let (_dir, store) = testing::store().await;
        let user = store.users().create("alice").await.unwrap();
        let id = store.tokens().create(&user).await.unwrap().id;
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        let actor = Actor::User { id: user.id, name: user.username, address, token: None };
        let last = super::super::now();
        store.tokens().record_uses(vec![TokenUse { actor, token_id: Some(id), last, requests: 3 }]).await.unwrap();
        let info = store.tokens().list().await.unwrap().remove(0);
        assert_eq!((info.last_used_at, info.last_used_from.as_deref()), (Some(last), Some("127.0.0.1")));
        let entry = store.audit().newest(1).await.unwrap().remove(0);
        assert_eq!((entry.action.as_str(), entry.diff), ("use", serde_json::json!({ "requests": 3 })));
    }
}
