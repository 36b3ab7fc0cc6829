//! The audit log: who did what to which, when and from where, and how it ended. Never a value.

mod entries;

use std::net::IpAddr;

use uuid::Uuid;

use super::engine::{Database, Writing, command, insert, query, row};
use super::{Doing, StoreError, now, storable};
pub use entries::Entry;

/// Rows that one purge deletes in a transaction, so that writers do not wait for a long one.
const PURGE_BATCH: i64 = 1000;
/// A target is a name somebody chose; a longer one is cut.
const MAX_TARGET_CHARS: usize = 256;
/// What changed, encoded. Texts of a longer one are cut.
const MAX_DIFF_BYTES: usize = 8 * 1024;
/// Longest text in one that was cut; in JSON it has six times as many bytes at most.
const MAX_CUT_CHARS: usize = 128;
/// What a row takes beside its texts, with its place in the index.
const ROW_BYTES: i64 = 160;
/// A record of the size to which the log is cut back: room until the next look.
const KEPT_PERCENT: u64 = 90;

/// What makes records repetitions of each other: who, what, on which kind of thing, how it ended.
pub type Kind = (Actor, &'static str, &'static str, u16);

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A user, by session token.
    User {
        /// Their id.
        id: Uuid,
        /// Their name.
        name: String,
        /// Where the request came from.
        address: Option<IpAddr>,
        /// Public id of the session token, if it is known.
        token: Option<String>,
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

    /// Public id of the session token; empty if there is none, or if it is not known.
    #[must_use]
    pub fn token(&self) -> &str {
        if let Self::User { token: Some(token), .. } = self { token } else { "" }
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

    /// Of which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        (self.actor.clone(), self.action, self.resource, self.status)
    }

    /// A record that stands for `count` more of this kind.
    #[must_use]
    pub fn more((actor, action, resource, status): Kind, count: u64) -> Self {
        Self::new(actor, action, resource).status(status).diff(serde_json::json!({ "more": count }))
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

row! {
    struct SizeRow { bytes: i64 }
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
        target: storable(record.target),
        status: record.status,
        diff: encoded(record.diff),
    });
    writing.sql.execute(insert).await.map(drop).doing("write an audit record")
}

/// The diff as it is stored: at most [`MAX_DIFF_BYTES`].
fn encoded(diff: serde_json::Value) -> String {
    let text = diff.to_string();
    if text.len() <= MAX_DIFF_BYTES {
        return text;
    }
    let shorter = cut(diff).to_string();
    if shorter.len() <= MAX_DIFF_BYTES { shorter } else { serde_json::json!({ "too_large": text.len() }).to_string() }
}

fn cut(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) if text.chars().nth(MAX_CUT_CHARS).is_some() => {
            Value::String(text.chars().take(MAX_CUT_CHARS).chain(['…']).collect())
        }
        Value::Array(items) => items.into_iter().map(cut).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, cut(value))).collect(),
        other => other,
    }
}

/// The audit log.
#[derive(Clone, Copy)]
pub struct Audit<'a>(pub(super) &'a Database);

impl Audit<'_> {
    /// Writes a record of something that changed nothing else.
    pub async fn write(&self, record: Record) -> Result<(), StoreError> {
        self.write_all(vec![record]).await
    }

    /// The same with several records, in one transaction.
    pub async fn write_all(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    for record in records {
                        insert(writing, record).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Deletes the oldest records, a batch at a time, if all together have more than `bytes`, and tells how many they were. Then there is
    /// some room left until the next look.
    pub async fn keep_within(&self, bytes: u64) -> Result<u64, StoreError> {
        let mut over = self.bytes().await?.saturating_sub(bytes);
        if over > 0 {
            over += bytes / 100 * (100 - KEPT_PERCENT);
        }
        let mut dropped = 0;
        while over > 0 {
            let batch = self.0.write(|writing| Box::pin(drop_oldest(writing))).await?;
            if batch.is_empty() {
                break;
            }
            dropped += batch.len() as u64;
            over = over.saturating_sub(batch.iter().map(|row| u64::try_from(row.bytes).unwrap_or_default()).sum());
        }
        Ok(dropped)
    }

    /// What all records take.
    pub async fn bytes(&self) -> Result<u64, StoreError> {
        let sum = query::<SizeRow>(
            "SELECT CAST(coalesce(sum(octet_length(actor_name) + octet_length(target) + octet_length(diff) + ?), 0) AS BIGINT) \
             AS bytes FROM audit",
        );
        let row = self.0.optional(sum.bind(ROW_BYTES)).await.doing("measure the audit log")?;
        Ok(row.and_then(|row| u64::try_from(row.bytes).ok()).unwrap_or_default())
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

async fn drop_oldest(writing: &mut Writing) -> Result<Vec<SizeRow>, StoreError> {
    let batch = query::<SizeRow>(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT ?) \
         RETURNING octet_length(actor_name) + octet_length(target) + octet_length(diff) + ? AS bytes",
    );
    writing.sql.all(batch.bind(PURGE_BATCH).bind(ROW_BYTES)).await.doing("cut the audit log back")
}

#[cfg(test)]
mod tests;
