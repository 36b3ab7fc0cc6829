//! When agents were connected. Each is seen by one server at a time; one that a dead server saw last is connected no longer than that
//! server's lease.

use uuid::Uuid;

use super::super::engine::{Database, command};
use super::super::servers::LEASE;
use super::super::{Doing, StoreError, now};

/// When agents were connected.
#[derive(Clone, Copy)]
pub struct Presence<'a>(pub(in crate::store) &'a Database);

impl Presence<'_> {
    /// An agent has connected and dialed this version of the API.
    pub async fn connected(&self, agent: Uuid, api_version: String) -> Result<(), StoreError> {
        let own = self.0.own();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let now = writing.now();
                    let told = command("UPDATE agents SET api_version = ? WHERE id = ?").bind(api_version).bind(agent);
                    // An agent that was deleted a moment ago has no row to refer to; the monitor ends its session.
                    let seen = command(
                        "INSERT INTO agent_presence (agent_id, first_connected_at, last_connected_at, server_id) \
                         SELECT id, ?, ?, ? FROM agents WHERE id = ? ON CONFLICT (agent_id) DO UPDATE \
                         SET last_connected_at = excluded.last_connected_at, server_id = excluded.server_id",
                    );
                    let seen = seen.bind(now).bind(now).bind(own).bind(agent);
                    writing.sql.batch(vec![told, seen]).await.doing("record a connection")
                })
            })
            .await
    }

    /// These agents are connected now: one statement, however many they are.
    pub async fn seen(&self, agents: &[Uuid]) -> Result<(), StoreError> {
        let (agents, own) = (agents.to_vec(), self.0.own());
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let now = writing.now();
                    // Not an agent whose disconnection overtook this, nor one that has moved to another server.
                    let seen = command(
                        "UPDATE agent_presence SET last_connected_at = ?, server_id = ? WHERE agent_id IN ({each uuid}) \
                           AND (disconnected_at IS NULL OR disconnected_at < last_connected_at) \
                           AND (server_id = ? OR server_id IS NULL OR last_connected_at < ?)",
                    );
                    let lapsed = now.as_microsecond().saturating_sub(LEASE);
                    let seen = seen.bind(now).bind(own).bind(agents).bind(own).bind(lapsed);
                    writing.sql.execute(seen).await.map(drop).doing("record connections")
                })
            })
            .await
    }

    /// The last session of an agent has ended.
    pub async fn disconnected(&self, agent: Uuid) -> Result<(), StoreError> {
        let (at, own) = (now(), self.0.own());
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    // Not earlier than a connection that was recorded meanwhile: the agent is back, here or at another server.
                    let left = command(
                        "UPDATE agent_presence SET disconnected_at = ?1 \
                         WHERE agent_id = ?2 AND server_id = ?3 AND last_connected_at <= ?1",
                    );
                    writing
                        .sql
                        .execute(left.bind(at).bind(agent).bind(own))
                        .await
                        .map(drop)
                        .doing("record a disconnection")
                })
            })
            .await
    }
}
