//! The audit log: who did what to which, when and from where, and how it ended. Never a value.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::engine::{Database, Writing, command, insert, query, row};
use super::{Doing, StoreError, now};

/// Rows that one purge deletes in a transaction, so that writers do not wait for a long one.
const PURGE_BATCH: i64 = 1000;
/// A target is a name somebody chose; a longer one is cut.
const MAX_TARGET_CHARS: usize = 256;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by session token.
    User {
        /// Their id.
        id: Uuid,
        /// Their name.
        name: String,
        /// Where the request came from.
        address: Option<IpAddr>,
    },
    /// A workspace agent, by agent token.
    Agent {
        /// Its id.
        id: Uuid,
        /// `OWNER/WORKSPACE/AGENT`.
        name: String,
        /// Where it connects from.
        address: Option<IpAddr>,
    },
    /// Whoever runs `coder-server` on the machine.
    Administrator,
}

impl Actor {
    fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Agent { .. } => "agent",
            Self::Administrator => "administrator",
        }
    }

    /// The user or agent; none for the administrator.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::User { id, .. } | Self::Agent { id, .. } => Some(*id),
            Self::Administrator => None,
        }
    }

    /// The name of the user or agent.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User { name, .. } | Self::Agent { name, .. } => name,
            Self::Administrator => "",
        }
    }

    /// Where the request came from.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::User { address, .. } | Self::Agent { address, .. } => *address,
            Self::Administrator => None,
        }
    }
}

/// One record to write.
#[derive(Clone, Debug)]
pub struct Record {
    actor: Actor,
    action: &'static str,
    resource: &'static str,
    resource_id: Option<Uuid>,
    target: String,
    status: u16,
    diff: serde_json::Value,
}

impl Record {
    /// A record of something that succeeded, on nothing in particular and with nothing changed.
    #[must_use]
    pub fn new(actor: Actor, action: &'static str, resource: &'static str) -> Self {
        let diff = serde_json::Value::Object(serde_json::Map::new());
        Self { actor, action, resource, resource_id: None, target: String::new(), status: 200, diff }
    }

    /// What it was done to.
    #[must_use]
    pub fn on(mut self, id: impl Into<Option<Uuid>>, target: &str) -> Self {
        self.resource_id = id.into();
        self.target = target.chars().take(MAX_TARGET_CHARS).collect();
        self
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// What changed: field → `{"old", "new"}`. A secret field has `"secret": true` and neither.
    #[must_use]
    pub fn diff(mut self, diff: serde_json::Value) -> Self {
        self.diff = diff;
        self
    }
}

/// A record as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// user, agent or administrator.
    pub actor_kind: String,
    /// Id of the user or agent.
    pub actor_id: Option<Uuid>,
    /// Name of the user or agent at that time.
    pub actor_name: String,
    /// Where the request came from; empty on the machine itself.
    pub address: String,
    /// create, write, delete, read, use, deliver, …
    pub action: String,
    /// Kind of thing.
    pub resource: String,
    /// The thing.
    pub resource_id: Option<Uuid>,
    /// Its name.
    pub target: String,
    /// HTTP status.
    pub status: u16,
    /// See [`Record::diff`].
    pub diff: serde_json::Value,
}

row! {
    struct EntryRow {
        at: Timestamp,
        actor_kind: String,
        actor_id: Option<Uuid>,
        actor_name: String,
        address: String,
        action: String,
        resource: String,
        resource_id: Option<Uuid>,
        target: String,
        status: u16,
        diff: String,
    }
}

impl From<EntryRow> for Entry {
    fn from(row: EntryRow) -> Self {
        Self {
            time: row.at,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            address: row.address,
            action: row.action,
            resource: row.resource,
            resource_id: row.resource_id,
            target: row.target,
            status: row.status,
            diff: serde_json::from_str(&row.diff).unwrap_or_default(),
        }
    }
}

/// Writes a record in the transaction of what it tells of: neither is kept without the other.
pub(super) async fn insert(writing: &mut Writing, record: Record) -> Result<(), StoreError> {
    let address = record.actor.address().map(|address| address.to_canonical().to_string());
    let insert = insert!("audit" {
        at: writing.now(),
        actor_kind: record.actor.kind(),
        actor_id: record.actor.id(),
        actor_name: record.actor.name(),
        address: address.unwrap_or_default(),
        action: record.action,
        resource: record.resource,
        resource_id: record.resource_id,
        target: record.target,
        status: record.status,
        diff: record.diff.to_string(),
    });
    writing.sql.execute(insert).await.map(drop).doing("write an audit record")
}

/// The audit log.
#[derive(Clone, Copy)]
pub struct Audit<'a>(pub(super) &'a Database);

impl Audit<'_> {
    /// Writes a record of something that changed nothing else.
    pub async fn write(&self, record: Record) -> Result<(), StoreError> {
        self.0.write(move |writing| Box::pin(insert(writing, record))).await
    }

    /// The newest records, oldest of them first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let newest = query::<EntryRow>("SELECT {columns} FROM audit ORDER BY id DESC LIMIT ?").bind(limit);
        let rows = self.0.all(newest).await.doing("read the audit log")?;
        Ok(rows.into_iter().rev().map(Entry::from).collect())
    }

    /// Deletes the records that are older than `age`, a batch at a time, and tells how many they were.
    pub async fn purge(&self, age: std::time::Duration) -> Result<u64, StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = now().as_microsecond().saturating_sub(age);
        let mut purged = 0;
        loop {
            let batch = self.0.write(move |writing| Box::pin(purge_batch(writing, before))).await?;
            purged += batch;
            if batch == 0 {
                return Ok(purged);
            }
        }
    }
}

async fn purge_batch(writing: &mut Writing, before: i64) -> Result<u64, StoreError> {
    let batch = command("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT ?)");
    writing.sql.execute(batch.bind(before).bind(PURGE_BATCH)).await.doing("purge the audit log")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn records_are_listed_in_order_and_purged_by_age() {
        let (_dir, store) = testing::store().await;
        let actor = Actor::User { id: Uuid::from_u128(7), name: "alice".into(), address: Some([127, 0, 0, 1].into()) };
        for status in [201, 409] {
            let record = Record::new(actor.clone(), "create", "user_secret").on(None, "token").status(status);
            store.audit().write(record).await.unwrap();
        }
        let entries = store.audit().newest(10).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.status).collect::<Vec<_>>(), [201, 409]);
        assert_eq!((entries[0].address.as_str(), entries[0].target.as_str()), ("127.0.0.1", "token"));
        assert_eq!(store.audit().newest(1).await.unwrap()[0].status, 409);
        assert_eq!(store.audit().purge(Duration::from_hours(1)).await.unwrap(), 0);
        assert_eq!(store.audit().purge(Duration::ZERO).await.unwrap(), 2);
    }
}
