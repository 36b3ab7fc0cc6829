//! Former values of secrets: kept when a value changes, listed, forgotten.

use std::time::Duration;

use jiff::Timestamp;
use protocol::rest::SecretVersion;
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::audit::Actor;
use super::super::engine::{Writing, command, insert, query, row};
use super::super::keys::KeyId;
use super::super::keys::sealed::{SECRET_VALUE, SECRET_VERSION};
use super::super::{Doing, StoreError, now};
use super::{SecretError, Secrets};

/// A former value is of use while somebody remembers the change. Later it is only one more thing to lose.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// How many former values of a secret are kept; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepVersions(pub u32);

row! {
    struct CurrentRow {
        id: Uuid,
        version: i64,
        value: Vec<u8>,
        value_key_id: KeyId,
        value_at: Timestamp = "CASE WHEN value_at = 0 THEN updated_at ELSE value_at END",
        value_token: String,
    }
}

row! {
    struct FormerRow { id: Uuid, number: i64, value: Vec<u8>, value_key_id: KeyId }
}

row! {
    struct HistoryRow { number: i64, value_at: Timestamp, value_token: String, replaced_at: Timestamp }
}

impl Secrets<'_> {
    /// The values of a secret, the current one first: when each was stored and by which token, never what it is.
    pub async fn history(&self, user: Uuid, name: &str) -> Result<Vec<SecretVersion>, SecretError> {
        let action = "read the history of a secret";
        let current = query::<CurrentRow>("SELECT {columns} FROM user_secrets WHERE user_id = ? AND name = ?");
        let current = self.0.optional(current.bind(user).bind(name)).await.doing(action)?;
        let current = current.ok_or(SecretError::NotFound)?;
        let former = query::<HistoryRow>(
            "SELECT {columns} FROM secret_versions WHERE secret_id = ? AND replaced_at > ? ORDER BY number DESC",
        );
        let former = self.0.all(former.bind(current.id).bind(oldest())).await.doing(action)?;
        let newest = SecretVersion {
            number: current.version,
            created_at: current.value_at,
            token_id: current.value_token,
            replaced_at: None,
        };
        let older = former.into_iter().map(|row| SecretVersion {
            number: row.number,
            created_at: row.value_at,
            token_id: row.value_token,
            replaced_at: Some(row.replaced_at),
        });
        Ok([newest].into_iter().chain(older).collect())
    }

    /// Deletes what is too old, or more than what is kept.
    pub async fn trim_versions(&self, keep: KeepVersions) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let trim = command(
                        "DELETE FROM secret_versions WHERE replaced_at <= ? OR number < \
                         (SELECT version - ? FROM user_secrets WHERE user_secrets.id = secret_versions.secret_id)",
                    );
                    let trim = trim.bind(oldest()).bind(keep.0);
                    writing.sql.execute(trim).await.map(drop).doing("delete old values of secrets")
                })
            })
            .await
    }
}

/// What was replaced before this is forgotten.
fn oldest() -> Timestamp {
    now().checked_sub(LONGEST).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A former value with its number: of this number, else the one before the current one.
pub(super) async fn former(
    writing: &mut Writing,
    user: Uuid,
    name: &str,
    to: Option<i64>,
) -> Result<(i64, Secret), SecretError> {
    writing.sql.lock_user(user).await.doing("lock the user's secrets")?;
    let current = query::<CurrentRow>("SELECT {columns} FROM user_secrets WHERE user_id = ? AND name = ?");
    let current = writing.sql.optional(current.bind(user).bind(name)).await.doing("read the secret")?;
    let current = current.ok_or(SecretError::NotFound)?;
    let former = query::<FormerRow>(
        "SELECT {columns} FROM secret_versions WHERE secret_id = ? AND replaced_at > ? AND number = ?",
    );
    let number = to.unwrap_or(current.version - 1);
    let former = former.bind(current.id).bind(oldest()).bind(number);
    let former = writing.sql.optional(former).await.doing("read a former value")?;
    let former = former.ok_or(SecretError::NoVersion(to))?;
    let place = SECRET_VERSION.of(user, former.id);
    Ok((former.number, writing.unseal(&former.value_key_id, &place, &former.value)?))
}

/// Keeps the current value of a secret that is about to get another one, within what is kept, and counts the new one.
pub(super) async fn keep(
    writing: &mut Writing,
    actor: &Actor,
    user: Uuid,
    secret: Uuid,
    keep: KeepVersions,
) -> Result<(), StoreError> {
    let current = query::<CurrentRow>("SELECT {columns} FROM user_secrets WHERE id = ?").bind(secret);
    let current = writing.sql.one(current).await.doing("read the secret")?;
    // One that does not open now never will.
    let opened = writing.unseal(&current.value_key_id, &SECRET_VALUE.of(user, secret), &current.value).ok();
    if let Some(value) = opened.filter(|_| keep.0 > 0) {
        let id = Uuid::new_v4();
        let sealed = writing.seal(&SECRET_VERSION.of(user, id), value.expose()).await?;
        let insert = insert!("secret_versions" {
            id: id,
            user_id: user,
            secret_id: secret,
            number: current.version,
            value: sealed.data,
            value_key_id: sealed.key,
            value_at: current.value_at,
            value_token: current.value_token,
            replaced_at: writing.now(),
        });
        writing.sql.execute(insert).await.doing("keep the former value")?;
    }
    let next = current.version + 1;
    let trim = command("DELETE FROM secret_versions WHERE secret_id = ? AND number < ?")
        .bind(secret)
        .bind(next - i64::from(keep.0));
    let count = command("UPDATE user_secrets SET version = ?, value_at = ?, value_token = ? WHERE id = ?")
        .bind(next)
        .bind(writing.now())
        .bind(actor.token())
        .bind(secret);
    writing.sql.batch(vec![trim, count]).await.doing("count a value")
}

/// Deletes all former values of a secret.
pub(super) async fn forget(writing: &mut Writing, secret: Uuid) -> Result<(), StoreError> {
    let forget = command("DELETE FROM secret_versions WHERE secret_id = ?").bind(secret);
    writing.sql.execute(forget).await.map(drop).doing("delete the former values of a secret")
}
