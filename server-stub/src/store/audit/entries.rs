//! Reading the audit log.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::super::engine::{Query, query, row};
use super::super::{Doing, StoreError};
use super::Audit;

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
    /// See `diff` of [`Record`](super::Record).
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

impl Audit<'_> {
    /// The newest records, oldest of them first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.select(None, None, limit).await
    }

    /// The newest records that were written since then and that concern a user, oldest of them first: what the user did, what agents of
    /// their workspaces did, and what was done to their account and workspaces.
    pub async fn select(
        &self,
        user: Option<&str>,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let since = since.map_or(0, Timestamp::as_microsecond);
        let Some(user) = user else {
            let newest = query::<EntryRow>("SELECT {columns} FROM audit WHERE at >= ? ORDER BY id DESC LIMIT ?");
            return self.entries(newest.bind(since).bind(limit)).await;
        };
        // A name of a user has no character that LIKE gives a meaning.
        let fits = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !fits {
            return Ok(Vec::new());
        }
        let of_user = query::<EntryRow>(
            "SELECT {columns} FROM audit WHERE at >= ?1 AND (lower(actor_name) = ?2 OR lower(actor_name) LIKE ?3 \
               OR lower(target) = ?2 OR lower(target) LIKE ?3 OR lower(target) LIKE ?4) ORDER BY id DESC LIMIT ?5",
        );
        let user = user.to_ascii_lowercase();
        let of_user = of_user.bind(since).bind(&user).bind(format!("{user}/%")).bind(format!("{user} %")).bind(limit);
        self.entries(of_user).await
    }

    async fn entries(&self, newest: Query<EntryRow>) -> Result<Vec<Entry>, StoreError> {
        let rows = self.0.all(newest).await.doing("read the audit log")?;
        Ok(rows.into_iter().rev().map(Entry::from).collect())
    }
}
