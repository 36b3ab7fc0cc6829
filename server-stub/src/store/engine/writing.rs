//! The inside of a write transaction.

use std::sync::Arc;

use jiff::Timestamp;
use protocol::secret::Secret;

use super::changes::Change;
use super::connection::Connection;
use super::error::{Doing, StoreError};
use super::query::query;
use super::row::row;
use crate::store::keys::{Claim, KeyId, Keyring, Mac, Place, Sealed};
use crate::store::now;

row! {
    /// The key that encrypts.
    struct ActiveKeyRow { id: KeyId }
}

/// The inside of a transaction.
pub(in crate::store) struct Writing {
    /// Runs statements of this transaction.
    pub(in crate::store) sql: Connection,
    keys: Arc<Keyring>,
    active: Option<KeyId>,
    now: Timestamp,
    changes: Vec<Change>,
}

impl Writing {
    pub(super) fn new(sql: Connection, keys: Arc<Keyring>) -> Self {
        Self { sql, keys, active: None, now: now(), changes: Vec::new() }
    }

    /// A transaction begins on the connection.
    pub(super) fn begun(&mut self) {
        self.active = None;
        self.now = now();
        self.changes.clear();
    }

    /// The time of this transaction, in the resolution of the database.
    pub(in crate::store) fn now(&self) -> Timestamp {
        self.now
    }

    /// Publishes a change once this transaction is committed.
    pub(in crate::store) fn changed(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// The changes so far. An operation that is undone takes its own with it, by [`Writing::undone`].
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) fn undone(&mut self, from: usize) {
        self.active = None;
        self.changes.truncate(from);
    }

    /// Encrypts under the active key.
    pub(in crate::store) async fn seal(&mut self, place: &Place, value: &[u8]) -> Result<Sealed, StoreError> {
        let active = self.active_key().await?;
        Ok(self.keys.seal(&active, place, value)?)
    }

    /// Opens a sealed value.
    pub(in crate::store) fn unseal(&self, key: &KeyId, place: &Place, data: &[u8]) -> Result<Secret, StoreError> {
        Ok(self.keys.unseal(key, place, data)?)
    }

    /// The MAC of a claim under the active key.
    pub(in crate::store) async fn mac(&mut self, claim: &Claim) -> Result<Mac, StoreError> {
        let active = self.active_key().await?;
        Ok(self.keys.mac(&active, claim)?)
    }

    /// The keys, for what needs them without a transaction as well.
    pub(in crate::store) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The active key. It cannot change until this transaction is over: that is the fence of key rotation.
    pub(in crate::store) async fn active_key(&mut self) -> Result<KeyId, StoreError> {
        if let Some(active) = &self.active {
            return Ok(active.clone());
        }
        self.sql.hold_key().await.doing("hold the encryption key")?;
        let active = query::<ActiveKeyRow>("SELECT {columns} FROM encryption_keys WHERE active = TRUE");
        let active = self.sql.optional(active).await.doing("read the active encryption key")?;
        let active = active.ok_or(StoreError::Malformed { what: "encryption_keys.active" })?.id;
        self.active = Some(active.clone());
        Ok(active)
    }

    /// For what follows in this transaction, once the database names another key.
    pub(in crate::store) fn set_active_key(&mut self, key: KeyId) {
        self.active = Some(key);
    }
}
