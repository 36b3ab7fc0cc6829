//! Session tokens: shown once, kept as a hash.

mod model;
mod text;
mod uses;

use std::time::Duration;

use jiff::Timestamp;
use protocol::rest::User;
use protocol::secret::Secret;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Database, Query, Writing, command, insert, query, row};
use super::keys::{Claim, KeyId};
use super::macs::Stored;
use super::users::{self, Account};
use super::{Doing, StoreError, now};
use model::MAX_NAME;
pub use model::{Kind, NewToken, Session, TokenError, TokenInfo, Wanted};
pub use uses::TokenUse;

/// A session ends this long after the sign-in, however often it is used.
pub const LONGEST_SESSION: Duration = Duration::from_hours(90 * 24);

row! {
    struct SessionRow {
        secret_hash: Vec<u8> = "t.secret_hash",
        mac: Option<Vec<u8>> = "t.mac",
        mac_key_id: Option<KeyId> = "t.mac_key_id",
        scope: String = "t.scope",
        expires_at: Option<Timestamp> = "t.expires_at",
        user_id: Uuid = "u.id",
        username: String = "u.username",
        role: String = "u.role",
        suspended_at: Option<Timestamp> = "u.suspended_at",
        created_at: Timestamp = "u.created_at",
    }
}

row! {
    struct TokenRow {
        id: String = "t.id",
        user_id: Uuid = "t.user_id",
        username: String = "u.username",
        name: String = "t.name",
        kind: String = "t.kind",
        scope: String = "t.scope",
        created_at: Timestamp = "t.created_at",
        expires_at: Option<Timestamp> = "t.expires_at",
        lifetime: i64 = "t.lifetime",
        last_used_at: Option<Timestamp> = "t.last_used_at",
        last_used_from: Option<String> = "t.last_used_from",
    }
}

impl From<TokenRow> for TokenInfo {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            username: row.username,
            name: row.name,
            kind: row.kind,
            scope: row.scope,
            created_at: row.created_at,
            expires_at: row.expires_at,
            lifetime: Duration::from_micros(row.lifetime.unsigned_abs()),
            last_used_at: row.last_used_at,
            last_used_from: row.last_used_from,
        }
    }
}

row! {
    struct RevokedRow { id: String, user_id: Uuid }
}

/// Session tokens.
#[derive(Clone, Copy)]
pub struct Tokens<'a>(pub(super) &'a Database);

impl Tokens<'_> {
    /// Makes a token of the usual kind, as an administrator.
    pub async fn create(&self, user: &User) -> Result<NewToken, TokenError> {
        self.create_with(Actor::Administrator, user, Wanted::default()).await
    }

    /// Makes a token for a user.
    pub async fn create_with(&self, actor: Actor, user: &User, wanted: Wanted) -> Result<NewToken, TokenError> {
        let name_fits = wanted.name.chars().count() <= MAX_NAME && !wanted.name.chars().any(char::is_control);
        if !name_fits || !self.0.can_hold(&wanted.name) {
            return Err(TokenError::Name);
        }
        let (id, secret) = (text::new_id()?, text::new_secret()?);
        let (hash, token) = (text::hash(secret.expose()), text::whole(&id, &secret));
        let (user_id, username) = (user.id, user.username.clone());
        let new = New { id: id.clone(), user: user_id, username, hash, wanted };
        let expires_at = self.0.write(move |writing| Box::pin(create(writing, actor, new))).await?;
        Ok(NewToken { id, token, expires_at })
    }

    /// Whose session token this is, if it is one that is still good. Its user may be suspended.
    pub async fn session(&self, token: &Secret) -> Result<Option<Session>, StoreError> {
        let Some((id, secret)) = text::split(token) else { return Ok(None) };
        let find = query::<SessionRow>(
            "SELECT {columns} FROM session_tokens t JOIN users u ON u.id = t.user_id WHERE t.id = ?",
        );
        let found = self.0.optional(find.bind(id)).await.doing("look up the session token")?;
        let Some(row) = found.filter(|row| row.secret_hash.ct_eq(&text::hash(secret)).into()) else {
            return Ok(None);
        };
        let claim = Claim::session_token(id, row.user_id, &row.secret_hash, &row.scope);
        if !(Stored { mac: row.mac, key: row.mac_key_id }).proves(self.0.keys(), &claim) {
            let user = row.username;
            tracing::warn!(token = id, user, "refused a session token that no server with the keys made");
            return Ok(None);
        }
        if row.expires_at.is_some_and(|at| at <= now()) {
            return Ok(None);
        }
        let account = Account {
            id: row.user_id,
            username: row.username,
            created_at: row.created_at,
            role: users::role(&row.role),
            suspended_at: row.suspended_at,
        };
        // A scope of a later version is one that this one knows nothing to do with.
        let scope = row.scope.parse().unwrap_or_default();
        Ok(Some(Session { role: account.role, user: account.into(), scope, token_id: id.to_owned() }))
    }

    /// All tokens, by user and age.
    pub async fn list(&self) -> Result<Vec<TokenInfo>, StoreError> {
        self.listed(query(
            "SELECT {columns} FROM session_tokens t JOIN users u ON u.id = t.user_id \
             ORDER BY {fold u.username}, t.created_at",
        ))
        .await
    }

    /// The tokens of a user, by age.
    pub async fn of_user(&self, user: Uuid) -> Result<Vec<TokenInfo>, StoreError> {
        let of_user = query(
            "SELECT {columns} FROM session_tokens t JOIN users u ON u.id = t.user_id \
             WHERE t.user_id = ? ORDER BY t.created_at",
        );
        self.listed(of_user.bind(user)).await
    }

    async fn listed(&self, tokens: Query<TokenRow>) -> Result<Vec<TokenInfo>, StoreError> {
        Ok(self.0.all(tokens).await.doing("list the tokens")?.into_iter().map(TokenInfo::from).collect())
    }

    /// Makes a token useless at once; false when there is none of that id, or it is of another user than `of`.
    pub async fn revoke(&self, id: &str, of: Option<Uuid>, actor: Actor) -> Result<bool, StoreError> {
        if !text::is_id(id) {
            return Ok(false);
        }
        let delete = query::<RevokedRow>("DELETE FROM session_tokens WHERE id = ? RETURNING {columns}").bind(id);
        let of_user = "DELETE FROM session_tokens WHERE id = ? AND user_id = ? RETURNING {columns}";
        let delete = of.map_or(delete, |user| query::<RevokedRow>(of_user).bind(id).bind(user));
        Ok(self.0.write(move |writing| Box::pin(revoke(writing, delete, actor))).await? > 0)
    }

    /// Makes all tokens of a user useless at once, and says how many they were.
    pub async fn revoke_all(&self, user: Uuid, actor: Actor) -> Result<u64, StoreError> {
        let delete = query("DELETE FROM session_tokens WHERE user_id = ? RETURNING {columns}").bind(user);
        self.0.write(move |writing| Box::pin(revoke(writing, delete, actor))).await
    }

    /// Makes a token of a user useless, and keeps it in lists; false when the user has none of that id.
    pub async fn expire(&self, id: &str, user: Uuid, actor: Actor) -> Result<bool, StoreError> {
        if !text::is_id(id) {
            return Ok(false);
        }
        let id = id.to_owned();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let expire = command("UPDATE session_tokens SET expires_at = ? WHERE id = ? AND user_id = ?");
                    let expire = expire.bind(writing.now()).bind(&id).bind(user);
                    let expired = writing.sql.execute(expire).await.doing("expire the token")? > 0;
                    if expired {
                        audit::insert(writing, Record::new(actor, "write", "session_token").on(user, &id)).await?;
                    }
                    Ok(expired)
                })
            })
            .await
    }
}

/// The sessions of a user end; API tokens stay.
pub(super) async fn end_sessions(writing: &mut Writing, user: Uuid) -> Result<u64, StoreError> {
    let end = command("DELETE FROM session_tokens WHERE user_id = ? AND kind = ?").bind(user);
    writing.sql.execute(end.bind(Kind::Session.as_str())).await.doing("end the sessions of a user")
}

#[derive(Clone)]
struct New {
    id: String,
    user: Uuid,
    username: String,
    hash: [u8; 32],
    wanted: Wanted,
}

async fn create(writing: &mut Writing, actor: Actor, new: New) -> Result<Option<Timestamp>, TokenError> {
    let New { id, user, username, hash, wanted: Wanted { name, kind, scope, lifetime } } = new;
    let now = writing.now();
    let expires_at = lifetime.map(|lifetime| now.saturating_add(lifetime).unwrap_or(Timestamp::MAX));
    let mac = writing.mac(&Claim::session_token(&id, user, &hash, scope.as_str())).await?;
    let insert = insert!("session_tokens" {
        id: &id,
        user_id: user,
        secret_hash: hash,
        created_at: now,
        name: &name,
        kind: kind.as_str(),
        scope: scope.as_str(),
        lifetime: lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX)),
        expires_at: expires_at,
        mac: mac.data,
        mac_key_id: mac.key,
    } "ON CONFLICT DO NOTHING");
    if writing.sql.execute(insert).await.doing("create the token")? == 0 {
        return Err(TokenError::Exists(name));
    }
    let record = Record::new(actor, "create", "session_token").on(user, &format!("{username} {id}"));
    let diff = serde_json::json!({ "scope": { "old": "", "new": scope.as_str() }, "kind": { "old": "", "new": kind.as_str() } });
    audit::insert(writing, record.diff(diff)).await?;
    Ok(expires_at)
}

async fn revoke(writing: &mut Writing, delete: Query<RevokedRow>, actor: Actor) -> Result<u64, StoreError> {
    let revoked = writing.sql.all(delete).await.doing("revoke a token")?;
    for RevokedRow { id, user_id } in &revoked {
        audit::insert(writing, Record::new(actor.clone(), "delete", "session_token").on(*user_id, id)).await?;
    }
    Ok(revoked.len() as u64)
}

#[cfg(test)]
mod tests;
