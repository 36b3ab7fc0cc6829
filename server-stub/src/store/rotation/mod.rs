//! Which keys the database needs, and changing the one that encrypts while servers run.
//!
//! The database says which key encrypts. Whoever seals a value holds a lock that a switch waits for. So from the commit of the switch on
//! no process encrypts with the old key, and what is left under it only becomes less.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Change, Connection, Database, Doing, Query, StoreError, Writing, command, insert, query, row};
use super::keys::key::{self, KeyError, KeyId, KeySource};
use super::keys::sealed::{self, SealedColumn};
use super::keys::{Keyring, file};
use super::servers::{LEASE, Servers};
use super::{DataDir, DataDirError, macs, now};

/// Values that one transaction re-encrypts, so that other writes wait for milliseconds only.
const BATCH: i64 = 100;
/// Longest wait for servers that live to say that they have a new key. They are asked, so this is much. One that says nothing may have
/// died: it is waited for until its lease ends.
const ANSWER: Duration = Duration::from_secs(5);
/// How often their answers are looked for.
const LOOK: Duration = Duration::from_millis(50);

row! {
    /// A sealed value, as [`sealed`] selects it.
    struct SealedRow { id: Uuid, user_id: Uuid, data: Vec<u8>, key_id: KeyId }
}

row! {
    struct ActiveRow { created_at: Timestamp }
}

row! {
    struct DroppedKey { id: KeyId }
}

row! {
    /// A key that values in the database need.
    struct NeededKey { id: KeyId, active: bool }
}

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// The key that encrypts now.
    pub active: KeyId,
    /// Keys that nothing in the database needs any more.
    pub dropped: Vec<KeyId>,
    /// Values that were re-encrypted.
    pub values: u64,
    /// Rows that were changed by somebody without the key. They let nobody in.
    pub unproven: Vec<String>,
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
    /// A switch would leave these servers unable to read what others write.
    #[error(
        "key {key} is in the key file of this machine, but not yet of these servers: {}; copy the key file to them, \
         then run this again", .servers.join(", ")
    )]
    NotEverywhere {
        /// The new key.
        key: KeyId,
        /// Ids of servers.
        servers: Vec<String>,
    },
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

/// The encryption keys of the deployment.
#[derive(Clone, Copy)]
pub struct Keys<'a>(pub(super) &'a Database);

impl<'a> Keys<'a> {
    /// The keys that the database needs, the active one first.
    pub async fn ids(&self) -> Result<Vec<KeyId>, StoreError> {
        let mut sql = self.0.read().await.doing("read the encryption key ids")?;
        needed(&mut sql).await
    }

    /// When the key that encrypts was made.
    pub async fn active_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let active = query::<ActiveRow>("SELECT {columns} FROM encryption_keys WHERE active = TRUE");
        Ok(self.0.optional(active).await.doing("read the age of the key")?.map(|row| row.created_at))
    }

    /// Where this process has its keys from.
    #[must_use]
    pub fn source(&self) -> &'a KeySource {
        self.0.keys().source()
    }

    /// The keys that this process has.
    #[must_use]
    pub fn held(&self) -> Vec<KeyId> {
        self.0.keys().ids()
    }

    /// Reads the key file again and adds the keys that are new.
    pub fn reread(&self) -> Result<(), KeyError> {
        self.0.keys().reread()
    }

    /// Brings every value under a new key. With `forget` the keys that nothing in this database needs any more leave the key file; a
    /// backup or another database may still need them. What was cut short is taken up where it ended.
    pub async fn rotate(&self, data_dir: &DataDir, forget: bool) -> Result<Rotated, RotateError> {
        let _lock: File = data_dir.rotate()?.ok_or(RotateError::UnderWay)?;
        if self.ids().await?.len() < 2 {
            self.switch().await?;
        }
        let mut rotated = self.reseal_all().await?;
        rotated.unproven = macs::renew(self.0).await?;
        rotated.dropped = self.0.write(|writing| Box::pin(drop_unused(writing))).await?;
        if let KeySource::File(path) = self.source()
            && forget
        {
            let mut keys = file::read(path)?;
            keys.retain(|key| !rotated.dropped.contains(&key::id_of(key)));
            file::replace(path, &keys)?;
        }
        if let Some(file) = self.0.file() {
            file.forget_replaced().await?;
        }
        Ok(rotated)
    }

    async fn switch(&self) -> Result<(), RotateError> {
        let path = match self.source() {
            KeySource::File(path) => path,
            KeySource::Variable { name, .. } => return Err(RotateError::Variable(name)),
        };
        let active = self.ids().await?.into_iter().next();
        // First into the file, beside the old one: who meets the new id in the database must find the key. A key behind the active one is
        // of a rotation that servers were not ready for.
        let mut keys = file::read(path)?;
        let at = keys.iter().position(|key| Some(key::id_of(key)) == active);
        let id = match keys.last() {
            Some(last) if at.is_some_and(|at| at + 1 < keys.len()) => key::id_of(last),
            _ => {
                let new = key::generate()?;
                let id = key::id_of(&new);
                keys.push(new);
                file::replace(path, &keys)?;
                id
            }
        };
        // Processes on one SQLite file share the key file as well.
        if self.0.file().is_none() {
            self.ask_servers(&id).await?;
        }
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    writing.sql.switch_key().await.doing("switch the encryption key")?;
                    activate(&mut writing.sql, &id).await?;
                    writing.set_active_key(id);
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Has all live servers read their key file again, and waits until each says that it has `key`.
    async fn ask_servers(&self, key: &KeyId) -> Result<(), RotateError> {
        self.0
            .write(|writing| {
                Box::pin(async move {
                    writing.changed(Change::Keys);
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        let (asked, before) = (Instant::now(), Servers(self.0).without_key(key).await?);
        let until_it_ends = ANSWER + Duration::from_micros(LEASE.unsigned_abs());
        loop {
            let servers = Servers(self.0).without_key(key).await?;
            if servers.is_empty() {
                return Ok(());
            }
            // Compared with what was there before, because clocks of two machines differ.
            let lives = servers.iter().any(|(id, seen)| before.get(id) != Some(seen));
            if asked.elapsed() >= if lives { ANSWER } else { until_it_ends } {
                let servers = servers.keys().map(Uuid::to_string).collect();
                return Err(RotateError::NotEverywhere { key: key.clone(), servers });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn reseal_all(&self) -> Result<Rotated, RotateError> {
        let (mut values, mut broken, mut active) = (0, Vec::new(), None);
        for column in sealed::ALL {
            let mut after = Uuid::nil();
            loop {
                let batch = self.0.write(move |writing| Box::pin(reseal(writing, column, after))).await?;
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
        Ok(Rotated { active, dropped: Vec::new(), values, unproven: Vec::new() })
    }
}

struct Batch {
    active: KeyId,
    resealed: u64,
    broken: Vec<String>,
    last: Option<Uuid>,
}

async fn reseal(writing: &mut Writing, column: &'static SealedColumn, after: Uuid) -> Result<Batch, StoreError> {
    let active = writing.active_key().await?;
    let rows: Query<SealedRow> = query(column.select).bind(&active).bind(after).bind(BATCH);
    let rows = writing.sql.all(rows).await.doing("read values to re-encrypt")?;
    let mut batch = Batch { active, resealed: 0, broken: Vec::new(), last: rows.last().map(|row| row.id) };
    for SealedRow { id, user_id, data, key_id } in rows {
        let place = column.of(user_id, id);
        let Ok(value) = writing.unseal(&key_id, &place, &data) else {
            batch.broken.push(format!("{} {id}", column.table));
            continue;
        };
        let sealed = writing.seal(&place, value.expose()).await?;
        let update = command(column.update).bind(sealed.data).bind(sealed.key).bind(id).bind(data);
        batch.resealed += writing.sql.execute(update).await.doing("re-encrypt a value")?;
    }
    Ok(batch)
}

/// Fails by its foreign keys, and changes nothing, if any value were still under an old key.
async fn drop_unused(writing: &mut Writing) -> Result<Vec<KeyId>, StoreError> {
    let unused = query::<DroppedKey>("DELETE FROM encryption_keys WHERE active = FALSE RETURNING {columns}");
    let dropped = writing.sql.all(unused).await.doing("drop the old encryption key")?;
    let target = writing.active_key().await?.to_string();
    audit::insert(writing, Record::new(Actor::Administrator, "rotate", "encryption_key").on(None, &target)).await?;
    Ok(dropped.into_iter().map(|key| key.id).collect())
}

/// The keys that a database needs, the active one first.
pub(super) async fn needed(sql: &mut Connection) -> Result<Vec<KeyId>, StoreError> {
    let keys = sql.all(query::<NeededKey>("SELECT {columns} FROM encryption_keys ORDER BY active DESC, id")).await;
    Ok(keys.doing("read the encryption key ids")?.into_iter().map(|key| key.id).collect())
}

/// Loads the keys and checks them against those the database needs, before anything else is read or written. In a transaction.
pub(super) async fn load(sql: &mut Connection, source: KeySource) -> Result<Arc<Keyring>, StoreError> {
    let needed = sql.all(query::<NeededKey>("SELECT {columns} FROM encryption_keys")).await;
    let needed = needed.doing("read the encryption key ids")?;
    // Only a database without keys may be given a new one: beside an old one it would hide that the right key is lost.
    let keys = if needed.is_empty() { Keyring::load_or_create(source)? } else { Keyring::load(source)? };
    for key in &needed {
        keys.require(&key.id)?;
    }
    let active = needed.into_iter().find_map(|key| key.active.then_some(key.id));
    let ids = keys.ids();
    // In a file the order means nothing, the database says which key encrypts; in the variable it is the first.
    let first = match keys.source() {
        KeySource::File(_) if active.is_some() => None,
        _ => ids.first().filter(|first| active.as_ref() != Some(*first)),
    };
    if let Some(first) = first {
        activate(sql, first).await?;
    }
    Ok(Arc::new(keys))
}

/// From the commit on, every process encrypts with `key`.
async fn activate(sql: &mut Connection, key: &KeyId) -> Result<(), StoreError> {
    let action = "switch the encryption key";
    sql.execute(command("UPDATE encryption_keys SET active = FALSE WHERE active = TRUE")).await.doing(action)?;
    let insert = insert!("encryption_keys" { id: key, active: true, created_at: now() }
        "ON CONFLICT (id) DO UPDATE SET active = TRUE");
    sql.execute(insert).await.map(drop).doing(action)
}

#[cfg(test)]
mod tests;
