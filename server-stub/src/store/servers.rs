//! The servers of the deployment, each with a lease.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::engine::{Database, Doing, StoreError, command, insert, query, row};
use super::keys::KeyId;
use super::{generations, now};

/// How long a server counts as alive after its last beat, in microseconds. An agent that it saw last is connected for as long.
pub(super) const LEASE: i64 = 30_000_000;

row! {
    struct ServerRow { id: Uuid, key_ids: String, seen_at: i64 }
}

/// The servers of the deployment.
#[derive(Clone, Copy)]
pub struct Servers<'a>(pub(super) &'a Database);

impl Servers<'_> {
    /// This server is alive: to be said every 10 seconds. Takes keys that were added to the key file, and publishes which it has.
    pub async fn beat(&self, version: &'static str) -> Result<(), StoreError> {
        self.0.keys().reread()?;
        generations::settle(self.0).await?;
        let ids = self.0.keys().ids();
        let ids = ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(",");
        let own = self.0.own();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let now = writing.now();
                    let beat = insert!("servers" {
                        id: own,
                        version: version,
                        key_ids: ids,
                        started_at: now,
                        seen_at: now,
                    } "ON CONFLICT (id) DO UPDATE SET key_ids = excluded.key_ids, seen_at = excluded.seen_at");
                    // A server that has not been seen for a day will not be back under this id.
                    let gone = command("DELETE FROM servers WHERE seen_at < ?")
                        .bind(now.as_microsecond().saturating_sub(LEASE.saturating_mul(2880)));
                    writing.sql.batch(vec![beat, gone]).await.doing("renew the lease of this server")
                })
            })
            .await
    }

    /// Whether other servers of the deployment are alive. A SQLite file has one server at a time.
    pub async fn others(&self) -> Result<bool, StoreError> {
        if self.0.file().is_some() {
            return Ok(false);
        }
        let live = query::<ServerRow>("SELECT {columns} FROM servers WHERE seen_at > ? AND id <> ? LIMIT 1");
        let live = live.bind(now().as_microsecond().saturating_sub(LEASE)).bind(self.0.own());
        Ok(self.0.optional(live).await.doing("look for other servers")?.is_some())
    }

    /// This server stops.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let own = self.0.own();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let leave = command("DELETE FROM servers WHERE id = ?").bind(own);
                    writing.sql.execute(leave).await.map(drop).doing("end the lease of this server")
                })
            })
            .await
    }

    /// The live servers that do not have `key`, and when each was seen last.
    pub(super) async fn without_key(&self, key: &KeyId) -> Result<BTreeMap<Uuid, i64>, StoreError> {
        let live = query::<ServerRow>("SELECT {columns} FROM servers WHERE seen_at > ? ORDER BY started_at");
        let live = self.0.all(live.bind(now().as_microsecond().saturating_sub(LEASE))).await;
        let live = live.doing("read the servers of the deployment")?;
        let lacks = |row: &ServerRow| !row.key_ids.split(',').any(|id| id == key.as_str());
        Ok(live.into_iter().filter(lacks).map(|row| (row.id, row.seen_at)).collect())
    }
}
