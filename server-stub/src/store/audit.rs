//! The audit log: who did what to which, when and from where, and how it ended. Never a value.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use super::{Doing, Store, StoreError, Writing, now, time};

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

/// Writes a record in the transaction of what it tells of: neither is kept without the other.
pub async fn insert(writing: &mut Writing, record: Record) -> Result<(), StoreError> {
    let now = writing.now();
    sqlx::query(
        "INSERT INTO audit (at, actor_kind, actor_id, actor_name, address, action, resource, resource_id, target, status, diff)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(now.as_microsecond())
    .bind(record.actor.kind())
    .bind(record.actor.id())
    .bind(record.actor.name())
    .bind(record.actor.address().map(|address| address.to_canonical().to_string()).unwrap_or_default())
    .bind(record.action)
    .bind(record.resource)
    .bind(record.resource_id)
    .bind(&record.target)
    .bind(record.status)
    .bind(record.diff.to_string())
    .execute(writing.connection())
    .await
    .map(drop)
    .doing("write an audit record")
}

impl Store {
    /// Writes a record of something that changed nothing else.
    pub async fn audit(&self, record: Record) -> Result<(), StoreError> {
        self.write(move |writing| Box::pin(insert(writing, record))).await
    }

    /// The newest records, oldest of them first.
    pub async fn audit_entries(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query(
            "SELECT at, actor_kind, actor_id, actor_name, address, action, resource, resource_id, target, status, diff
             FROM audit ORDER BY id DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(self.reader())
        .await
        .doing("read the audit log")?;
        let entry = |row: &sqlx::sqlite::SqliteRow| Entry {
            time: time(row.get(0)),
            actor_kind: row.get(1),
            actor_id: row.get(2),
            actor_name: row.get(3),
            address: row.get(4),
            action: row.get(5),
            resource: row.get(6),
            resource_id: row.get(7),
            target: row.get(8),
            status: row.get(9),
            diff: serde_json::from_str(row.get(10)).unwrap_or_default(),
        };
        Ok(rows.iter().rev().map(entry).collect())
    }

    /// Deletes the records that are older than `age`, a batch at a time, and tells how many they were.
    pub async fn purge_audit(&self, age: std::time::Duration) -> Result<u64, StoreError> {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let before = now().as_microsecond().saturating_sub(age);
        let mut purged = 0;
        loop {
            let batch = self
                .write(move |writing| {
                    Box::pin(async move {
                        sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT ?)")
                            .bind(before)
                            .bind(PURGE_BATCH)
                            .execute(writing.connection())
                            .await
                            .map(|done| done.rows_affected())
                            .doing("purge the audit log")
                    })
                })
                .await?;
            purged += batch;
            if batch == 0 {
                return Ok(purged);
            }
        }
    }
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
            store.audit(record).await.unwrap();
        }
        let entries = store.audit_entries(10).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.status).collect::<Vec<_>>(), [201, 409]);
        assert_eq!((entries[0].address.as_str(), entries[0].target.as_str()), ("127.0.0.1", "token"));
        assert_eq!(store.audit_entries(1).await.unwrap()[0].status, 409);
        assert_eq!(store.purge_audit(Duration::from_hours(1)).await.unwrap(), 0);
        assert_eq!(store.purge_audit(Duration::ZERO).await.unwrap(), 2);
    }
}
