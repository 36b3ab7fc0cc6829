//! Rows of `user_secrets`.

use jiff::Timestamp;
use protocol::rest::UserSecret;
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::engine::{Writing, command, insert, query, row};
use super::super::keys::KeyId;
use super::super::keys::sealed::SECRET_VALUE;
use super::super::{Doing, StoreError, generations};
use super::rules::{Held, Holdings};

row! {
    /// A secret without its value.
    pub(super) struct SecretRow {
        id: Uuid,
        name: String,
        description: String,
        env_name: String,
        file_path: String,
        enabled: bool,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
}

row! {
    struct SealedRow { value: Vec<u8>, value_key_id: KeyId }
}

row! {
    struct HeldRow { id: Uuid, name: String, env_name: String, file_path: String, value_bytes: usize }
}

impl From<SecretRow> for UserSecret {
    fn from(row: SecretRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            env_name: row.env_name,
            file_path: row.file_path,
            enabled: row.enabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<HeldRow> for Held {
    fn from(HeldRow { id, name, env_name, file_path, value_bytes }: HeldRow) -> Self {
        Self { id, name, env_name, file_path, value_bytes }
    }
}

/// Everything that a user has, for the rules. Until the transaction ends, nobody else changes it.
pub(super) async fn holdings(writing: &mut Writing, user: Uuid) -> Result<Holdings, StoreError> {
    writing.sql.lock_user(user).await.doing("lock the user's secrets")?;
    let held = query::<HeldRow>("SELECT {columns} FROM user_secrets WHERE user_id = ?").bind(user);
    let held = writing.sql.all(held).await.doing("read the user's secrets")?;
    Ok(Holdings::new(held.into_iter().map(Held::from).collect()))
}

pub(super) async fn read(writing: &mut Writing, id: Uuid) -> Result<UserSecret, StoreError> {
    let read = query::<SecretRow>("SELECT {columns} FROM user_secrets WHERE id = ?").bind(id);
    writing.sql.one(read).await.map(UserSecret::from).doing("read the secret")
}

pub(super) async fn insert(
    writing: &mut Writing,
    user: Uuid,
    secret: &UserSecret,
    value: &Secret,
    token: &str,
) -> Result<(), StoreError> {
    let sealed = writing.seal(&SECRET_VALUE.of(user, secret.id), value.expose()).await?;
    let insert = insert!("user_secrets" {
        id: secret.id,
        user_id: user,
        name: &secret.name,
        description: &secret.description,
        value: sealed.data,
        value_key_id: sealed.key,
        value_bytes: length(value),
        value_at: secret.created_at,
        value_token: token,
        env_name: &secret.env_name,
        file_path: &secret.file_path,
        enabled: secret.enabled,
        created_at: secret.created_at,
        updated_at: secret.updated_at,
    });
    writing.sql.execute(insert).await.map(drop).doing("store the secret")
}

pub(super) async fn write_fields(writing: &mut Writing, new: &UserSecret) -> Result<(), StoreError> {
    let update = command(
        "UPDATE user_secrets SET description = ?, env_name = ?, file_path = ?, enabled = ?, updated_at = ? WHERE id = ?",
    )
    .bind(&new.description)
    .bind(&new.env_name)
    .bind(&new.file_path)
    .bind(new.enabled)
    .bind(new.updated_at)
    .bind(new.id);
    writing.sql.execute(update).await.map(drop).doing("change the secret")
}

pub(super) async fn write_value(writing: &mut Writing, user: Uuid, id: Uuid, value: &Secret) -> Result<(), StoreError> {
    let sealed = writing.seal(&SECRET_VALUE.of(user, id), value.expose()).await?;
    let update = command("UPDATE user_secrets SET value = ?, value_key_id = ?, value_bytes = ? WHERE id = ?")
        .bind(sealed.data)
        .bind(sealed.key)
        .bind(length(value))
        .bind(id);
    writing.sql.execute(update).await.map(drop).doing("change the value")
}

/// Whether a value is other than the stored one. One that does not decrypt is.
pub(super) async fn is_new_value(
    writing: &mut Writing,
    user: Uuid,
    id: Uuid,
    value: &Secret,
) -> Result<bool, StoreError> {
    let stored = query::<SealedRow>("SELECT {columns} FROM user_secrets WHERE id = ?").bind(id);
    let stored = writing.sql.one(stored).await.doing("read the value")?;
    let opened = writing.unseal(&stored.value_key_id, &SECRET_VALUE.of(user, id), &stored.value);
    Ok(opened.map_or(true, |opened| opened != *value))
}

/// Deletes a secret and returns what it was.
pub(super) async fn delete(writing: &mut Writing, user: Uuid, name: &str) -> Result<Option<UserSecret>, StoreError> {
    let delete = query::<SecretRow>("DELETE FROM user_secrets WHERE user_id = ? AND name = ? RETURNING {columns}");
    let deleted = writing.sql.optional(delete.bind(user).bind(name)).await.doing("delete the secret")?;
    Ok(deleted.map(UserSecret::from))
}

/// Records the policy of the deployment, and counts a change of it.
pub(super) async fn record_policy(writing: &mut Writing, policy: String) -> Result<(), StoreError> {
    let record = command("UPDATE deployment SET file_policy = ? WHERE file_policy <> ?").bind(&policy).bind(&policy);
    if writing.sql.execute(record).await.doing("record the policy of targets")? > 0 {
        generations::grow_deployment(writing).await?;
    }
    Ok(())
}

fn length(value: &Secret) -> i64 {
    i64::try_from(value.len()).unwrap_or(i64::MAX)
}
