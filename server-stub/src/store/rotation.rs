//! Changing the encryption key while the server runs.
//!
//! The database says which key encrypts, and every write transaction asks it under the lock that changing it needs too. So from the
//! commit of the switch on no process encrypts with the old key, and what is left under it only becomes less.

use std::fs::File;

use protocol::secret::Secret;
use sqlx::{Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::keyring::{KeyError, KeyId, KeySource, Place};
use super::{DataDir, DataDirError, Doing, Store, StoreError, Writing, activate, key_file, keyring, schema};

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

const COLUMNS: [Column; 2] = [
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
            keys.retain(|key| keyring::id_of(key) == rotated.active);
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
        let key = keyring::generate()?;
        let id = keyring::id_of(&key);
        keys.push(key);
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
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::rest::CreateUserSecretRequest;

    use super::super::{FilePaths, testing};
    use super::*;

    async fn create(store: &Store, user: Uuid, name: &str) -> Uuid {
        let actor = Actor::User { id: user, name: "u".into(), address: None };
        let request = CreateUserSecretRequest {
            name: name.into(),
            value: format!("value of {name}").into(),
            ..Default::default()
        };
        store.create_secret(actor, user, request, FilePaths::Allowed).await.unwrap().id
    }

    async fn values(store: &Store, user: Uuid) -> Vec<(String, String)> {
        let rows = sqlx::query("SELECT id, value, value_key_id FROM user_secrets WHERE user_id = ? ORDER BY name")
            .bind(user)
            .fetch_all(store.reader())
            .await
            .unwrap();
        let open = |row: &sqlx::sqlite::SqliteRow| {
            let place = Place { table: "user_secrets", user, row: row.get(0), column: "value" };
            let value = store.unseal(&KeyId::stored(row.get(2)), &place, row.get(1)).unwrap();
            (value.expose_str().unwrap().to_owned(), row.get(2))
        };
        rows.iter().map(open).collect()
    }

    #[tokio::test]
    async fn every_sealed_column_is_rotated() {
        let (_dir, store) = testing::store().await;
        let sealed: BTreeSet<(String, String)> = sqlx::query(
            "SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
             WHERE c.name LIKE '%\\_key\\_id' ESCAPE '\\'",
        )
        .fetch_all(store.reader())
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
        let known = COLUMNS.iter().map(|column| (column.table.to_owned(), format!("{}_key_id", column.name)));
        assert_eq!(sealed, known.collect());
    }

    #[tokio::test]
    async fn another_process_writes_all_the_while_and_nothing_is_left_under_the_old_key() {
        let (dir, admin) = testing::store().await;
        let server = testing::reopen(&dir).await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        let old = admin.key_ids().await.unwrap().remove(0);
        let users = [testing::user(&server, "alice").await, testing::user(&server, "bob").await];
        for n in 0..40 {
            create(&server, users[0], &format!("before{n:02}")).await;
        }
        let done = AtomicBool::new(false);
        let writing = async {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) || n < 5 {
                create(&server, users[1], &format!("during{n:02}")).await;
                n = (n + 1).min(49);
                if n == 49 {
                    break;
                }
            }
        };
        let rotating = async {
            let rotated = admin.rotate_keys(&data_dir).await.unwrap();
            done.store(true, Ordering::Relaxed);
            rotated
        };
        let (rotated, ()) = tokio::join!(rotating, writing);
        assert_eq!(rotated.dropped, [old]);
        assert!(rotated.values >= 40);
        for user in users {
            for (n, (value, key)) in values(&server, user).await.into_iter().enumerate() {
                assert!(value.ends_with(&format!("{n:02}")), "{value}");
                assert_eq!(key, rotated.active.as_str());
            }
        }
        let text = std::fs::read_to_string(data_dir.key_file()).unwrap();
        assert_eq!(keyring::parse(&text, "").unwrap().iter().map(keyring::id_of).collect::<Vec<_>>(), [rotated.active]);
        for store in [admin, server] {
            store.close().await;
        }
        assert_eq!(values(&testing::reopen(&dir).await, users[0]).await.len(), 40);
    }

    #[tokio::test]
    async fn a_value_that_does_not_decrypt_keeps_its_key_and_does_not_stop_the_others() {
        let (dir, store) = testing::store().await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        let user = testing::user(&store, "alice").await;
        let (bad, _good) = (create(&store, user, "bad").await, create(&store, user, "good").await);
        store
            .write::<_, (), StoreError>(move |writing| {
                Box::pin(async move {
                    let damage = sqlx::query("UPDATE user_secrets SET value = zeroblob(40) WHERE id = ?").bind(bad);
                    damage.execute(writing.connection()).await.map(drop).doing("damage")
                })
            })
            .await
            .unwrap();
        let error = store.rotate_keys(&data_dir).await.unwrap_err().to_string();
        assert!(error.contains(&format!("user_secrets {bad}")), "{error}");
        assert_eq!(store.key_ids().await.unwrap().len(), 2);
        store.close().await;
        let store = testing::reopen(&dir).await;
        let actor = Actor::User { id: user, name: "alice".into(), address: None };
        store.delete_secret(actor, user, "bad").await.unwrap();
        let rotated = store.rotate_keys(&data_dir).await.unwrap();
        assert_eq!((rotated.values, rotated.dropped.len()), (0, 1));
        assert_eq!(values(&store, user).await, [("value of good".to_owned(), rotated.active.to_string())]);
    }

    #[tokio::test]
    async fn a_lost_or_wrong_key_is_named_and_never_replaced() {
        let (dir, store) = testing::store().await;
        let id = store.key_ids().await.unwrap().remove(0);
        store.close().await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        let open = || Store::open(&data_dir, KeySource::File(data_dir.key_file()));
        std::fs::remove_file(data_dir.key_file()).unwrap();
        assert!(matches!(open().await, Err(StoreError::Keys(KeyError::File { action: "read", .. }))));
        assert!(!data_dir.key_file().exists());
        key_file::create(&data_dir.key_file(), &keyring::generate().unwrap()).unwrap();
        let error = open().await.err().unwrap().to_string();
        assert!(error.contains(id.as_str()) && error.contains("encryption.key"), "{error}");
    }

    #[tokio::test]
    async fn the_first_key_of_a_variable_encrypts_and_all_decrypt() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let (old, new) = (keyring::generate().unwrap(), keyring::generate().unwrap());
        let open = |keys: &[&keyring::KeyBytes]| {
            let text = keys.iter().map(|key| STANDARD.encode(***key)).collect::<Vec<_>>().join(",");
            Store::open(&data_dir, KeySource::Variable { name: "KEYS", text: text.into() })
        };
        let store = open(&[&old]).await.unwrap();
        let user = testing::user(&store, "alice").await;
        create(&store, user, "a").await;
        assert!(matches!(store.rotate_keys(&data_dir).await, Err(RotateError::Variable("KEYS"))));
        store.close().await;
        let store = open(&[&new, &old]).await.unwrap();
        create(&store, user, "b").await;
        let keys: Vec<String> = values(&store, user).await.into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, [keyring::id_of(&old).to_string(), keyring::id_of(&new).to_string()]);
        assert_eq!(store.rotate_keys(&data_dir).await.unwrap().dropped, [keyring::id_of(&old)]);
        store.close().await;
        assert_eq!(values(&open(&[&new]).await.unwrap(), user).await.len(), 2);
        assert!(matches!(open(&[&old]).await, Err(StoreError::Keys(KeyError::Missing { .. }))));
    }
}
