//! Changing the encryption key while the server runs.
//!
//! The database says which key encrypts, and every write transaction asks it under the lock that changing it needs too. So from the
//! commit of the switch on no process encrypts with the old key, and what is left under it only becomes less.

use std::fs::File;

use protocol::secret::Secret;
use sqlx::{Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::key::{self, KeyError, KeyId, KeySource};
use super::keyring::Place;
use super::{DataDir, DataDirError, Doing, Store, StoreError, Writing, activate, key_file, schema};

/// Values that one transaction re-encrypts, so that other writes wait for milliseconds only.
const BATCH: i64 = 100;

/// One column of sealed values. Every `…_key_id` of the schema is here, as a test proves.
struct Column {
    table: &'static str,
    name: &'static str,
    /// Rows after an id that are not under a key: id, user, data, key.
    select: &'static str,
    update: &'static str,
}

const COLUMNS: [Column; 3] = [
    Column {
        table: "user_secrets",
        name: "value",
        select: "SELECT id, user_id, value, value_key_id FROM user_secrets
                 WHERE value_key_id <> ? AND id > ? ORDER BY id LIMIT ?",
        update: "UPDATE user_secrets SET value = ?, value_key_id = ? WHERE id = ?",
    },
    Column {
        table: "agent_env",
        name: "value",
        select: "SELECT e.id, w.owner_id, e.value, e.value_key_id FROM agent_env e
                 JOIN agents a ON a.id = e.agent_id JOIN workspaces w ON w.id = a.workspace_id
                 WHERE e.value_key_id <> ? AND e.id > ? ORDER BY e.id LIMIT ?",
        update: "UPDATE agent_env SET value = ?, value_key_id = ? WHERE id = ?",
    },
    Column {
        table: "git_ssh_keys",
        name: "private_key",
        select: "SELECT user_id, user_id, private_key, private_key_key_id FROM git_ssh_keys
                 WHERE private_key_key_id <> ? AND user_id > ? ORDER BY user_id LIMIT ?",
        update: "UPDATE git_ssh_keys SET private_key = ?, private_key_key_id = ? WHERE user_id = ?",
    },
];

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// The key that encrypts now.
    pub active: KeyId,
    /// Keys that nothing in the database needs any more.
    pub dropped: Vec<KeyId>,
    /// Values that were re-encrypted.
    pub values: u64,
}

/// Why keys were not rotated, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Somebody else is at it.
    #[error("another rotation of keys is under way")]
    UnderWay,
    /// We cannot change a variable of other processes.
    #[error(
        "the keys come from the variable {0}, which only you can change: put a new key in front of the others (openssl rand \
         -base64 32), restart the server with it, then run this again with it; last, remove the old key"
    )]
    Variable(&'static str),
    /// Some values stay under the old key, which is therefore kept.
    #[error("{} values do not decrypt and stay under their old key, which is kept: {}", .0.len(), .0.join(", "))]
    Undecryptable(Vec<String>),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Brings every value under a new key and drops the old one. What was cut short is taken up where it ended.
    pub async fn rotate_keys(&self, data_dir: &DataDir) -> Result<Rotated, RotateError> {
        let _lock: File = data_dir.rotate()?.ok_or(RotateError::UnderWay)?;
        if self.key_ids().await?.len() < 2 {
            self.switch().await?;
        }
        let mut rotated = self.reseal_all().await?;
        rotated.dropped = self.write(|writing| Box::pin(drop_unused(writing))).await?;
        if let KeySource::File(path) = self.keys().source() {
            let mut keys = key_file::read(path)?;
            keys.retain(|key| key::id_of(key) == rotated.active);
            key_file::replace(path, &keys)?;
        }
        self.forget_old_pages().await?;
        Ok(rotated)
    }

    /// The keys that the database needs, the active one first.
    pub async fn key_ids(&self) -> Result<Vec<KeyId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM encryption_keys ORDER BY active DESC, id")
            .fetch_all(self.reader())
            .await
            .doing("read the encryption key ids")?;
        Ok(rows.iter().map(|row| KeyId::stored(row.get(0))).collect())
    }

    async fn switch(&self) -> Result<(), RotateError> {
        let path = match self.keys().source() {
            KeySource::File(path) => path,
            KeySource::Variable { name, .. } => return Err(RotateError::Variable(name)),
        };
        // First into the file, beside the old one: who meets the new id in the database must find the key.
        let mut keys = key_file::read(path)?;
        let new = key::generate()?;
        let id = key::id_of(&new);
        keys.push(new);
        key_file::replace(path, &keys)?;
        self.write(move |writing| {
            Box::pin(async move {
                activate(writing.connection(), &id).await?;
                writing.set_active_key(id);
                Ok::<_, StoreError>(())
            })
        })
        .await?;
        Ok(())
    }

    async fn reseal_all(&self) -> Result<Rotated, RotateError> {
        let (mut values, mut broken, mut active) = (0, Vec::new(), None);
        for column in &COLUMNS {
            let mut after = Uuid::nil();
            loop {
                let batch = self.write(move |writing| Box::pin(reseal(writing, column, after))).await?;
                values += batch.resealed;
                broken.extend(batch.broken);
                active = Some(batch.active);
                match batch.last {
                    Some(last) => after = last,
                    None => break,
                }
            }
        }
        if !broken.is_empty() {
            return Err(RotateError::Undecryptable(broken));
        }
        let active = active.ok_or(StoreError::Malformed { what: "encryption_keys.active" })?;
        Ok(Rotated { active, dropped: Vec::new(), values })
    }

    /// Old ciphertext is overwritten in the database, but the log before it still has it until it is emptied.
    async fn forget_old_pages(&self) -> Result<(), StoreError> {
        let action = "empty the write-ahead log";
        let mut connection = SqliteConnection::connect_with(&schema::options(self.path())).await.doing(action)?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.doing(action)?;
        connection.close().await.doing(action)
    }
}

struct Batch {
    active: KeyId,
    resealed: u64,
    broken: Vec<String>,
    last: Option<Uuid>,
}

async fn reseal(writing: &mut Writing, column: &'static Column, after: Uuid) -> Result<Batch, StoreError> {
    let active = writing.active_key().cloned().ok_or(StoreError::Malformed { what: "encryption_keys.active" })?;
    let rows = sqlx::query(column.select)
        .bind(active.as_str())
        .bind(after)
        .bind(BATCH)
        .fetch_all(writing.connection())
        .await
        .doing("read values to re-encrypt")?;
    let mut batch = Batch { active, resealed: 0, broken: Vec::new(), last: rows.last().map(|row| row.get(0)) };
    for row in rows {
        let (id, user, data, key): (Uuid, Uuid, Vec<u8>, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let place = Place { table: column.table, user, row: id, column: column.name };
        let opened: Option<Secret> = writing.keys().unseal(&KeyId::stored(&key), &place, &data);
        let Some(value) = opened else {
            batch.broken.push(format!("{} {id}", column.table));
            continue;
        };
        let sealed = writing.seal(&place, value.expose())?;
        sqlx::query(column.update)
            .bind(sealed.data)
            .bind(sealed.key.as_str())
            .bind(id)
            .execute(writing.connection())
            .await
            .doing("re-encrypt a value")?;
        batch.resealed += 1;
    }
    Ok(batch)
}

/// Fails by its foreign keys, and changes nothing, if any value were still under an old key.
async fn drop_unused(writing: &mut Writing) -> Result<Vec<KeyId>, StoreError> {
    let rows = sqlx::query("DELETE FROM encryption_keys WHERE active = 0 RETURNING id")
        .fetch_all(writing.connection())
        .await
        .doing("drop the old encryption key")?;
    let target = writing.active_key().map(ToString::to_string).unwrap_or_default();
    audit::insert(writing, Record::new(Actor::Administrator, "rotate", "encryption_key").on(None, &target)).await?;
    Ok(rows.iter().map(|row| KeyId::stored(row.get(0))).collect())
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
