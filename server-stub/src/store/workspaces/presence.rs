//! Who an agent is, and when it was connected.

use std::collections::HashSet;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::super::{Doing, Store, StoreError, now};

/// SHA-256 of an agent token. Tokens are random, so a plain hash is as good as a slow one, and it can be looked up.
pub type TokenHash = [u8; 32];

/// The hash of a token, none for what is no token at all. Every spelling of a UUID is the same token.
#[must_use]
pub fn token_hash(token: &str) -> Option<TokenHash> {
    Uuid::try_parse(token).ok().map(hash)
}

/// The hash that a token is known by.
pub(super) fn hash(token: Uuid) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// An agent that has shown its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// The agent.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The workspace it runs in.
    pub workspace_id: Uuid,
    /// The name of that.
    pub workspace_name: String,
    /// The user whose secrets it gets.
    pub owner_id: Uuid,
    /// The name of that user.
    pub owner_name: String,
    /// Hash of the token it has shown; another one in the database means that this session must end.
    pub token_hash: TokenHash,
}

impl AgentIdentity {
    /// `OWNER/WORKSPACE/AGENT`, for log lines and audit records.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.owner_name, self.workspace_name, self.name)
    }
}

impl Store {
    /// The agent with this token.
    pub async fn agent_by_token(&self, token: &str) -> Result<Option<AgentIdentity>, StoreError> {
        let Some(token_hash) = token_hash(token) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT a.id, a.name, w.id, w.name, u.id, u.username FROM agents a \
             JOIN workspaces w ON w.id = a.workspace_id JOIN users u ON u.id = w.owner_id WHERE a.token_hash = ?",
        )
        .bind(token_hash.as_slice())
        .fetch_optional(self.reader())
        .await
        .doing("look up an agent token")?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(AgentIdentity {
            id: row.get(0),
            name: row.get(1),
            workspace_id: row.get(2),
            workspace_name: row.get(3),
            owner_id: row.get(4),
            owner_name: row.get(5),
            token_hash,
        }))
    }

    /// Which of these tokens no agent has any more. Asked for the connected ones, so that the answer costs the same however many users
    /// the database has.
    pub async fn lost_tokens(&self, tokens: &[TokenHash]) -> Result<HashSet<TokenHash>, StoreError> {
        let hashes: Vec<String> = tokens.iter().map(hex::encode).collect();
        let rows = sqlx::query(
            "SELECT unhex(value) FROM json_each(?) \
             WHERE NOT EXISTS (SELECT 1 FROM agents WHERE token_hash = unhex(value))",
        )
        .bind(serde_json::Value::from(hashes).to_string())
        .fetch_all(self.reader())
        .await
        .doing("look up agent tokens")?;
        let hash = |row: &SqliteRow| row.get::<&[u8], _>(0).try_into();
        rows.iter().map(hash).collect::<Result<_, _>>().map_err(|_| StoreError::Malformed { what: "agents.token_hash" })
    }

    /// An agent has connected and dialled this version of the API.
    pub async fn agent_connected(&self, agent: Uuid, api_version: String) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let now = writing.now().as_microsecond();
                // An agent that was deleted a moment ago has no row to refer to; the monitor ends its session.
                sqlx::query(
                    "UPDATE agents SET api_version = ? WHERE id = ?; \
                     INSERT INTO agent_presence SELECT id, ?, ?, NULL FROM agents WHERE id = ? \
                     ON CONFLICT (agent_id) DO UPDATE SET last_connected_at = excluded.last_connected_at",
                )
                .bind(api_version)
                .bind(agent)
                .bind(now)
                .bind(now)
                .bind(agent)
                .execute(writing.connection())
                .await
                .map(drop)
                .doing("record a connection")
            })
        })
        .await
    }

    /// These agents are connected now: one statement, however many they are.
    pub async fn agents_seen(&self, agents: &[Uuid]) -> Result<(), StoreError> {
        let ids: Vec<String> = agents.iter().map(|id| id.simple().to_string()).collect();
        let ids = serde_json::Value::from(ids).to_string();
        self.write(move |writing| {
            Box::pin(async move {
                let now = writing.now().as_microsecond();
                sqlx::query(
                    // Not an agent whose disconnection overtook this.
                    "UPDATE agent_presence SET last_connected_at = ? \
                     WHERE agent_id IN (SELECT unhex(value) FROM json_each(?)) \
                       AND (disconnected_at IS NULL OR disconnected_at < last_connected_at)",
                )
                .bind(now)
                .bind(ids)
                .execute(writing.connection())
                .await
                .map(drop)
                .doing("record connections")
            })
        })
        .await
    }

    /// The last session of an agent has ended.
    pub async fn agent_disconnected(&self, agent: Uuid) -> Result<(), StoreError> {
        let at = now().as_microsecond();
        self.write(move |writing| {
            Box::pin(async move {
                // Not earlier than a connection that was recorded meanwhile: the agent is back.
                sqlx::query(
                    "UPDATE agent_presence SET disconnected_at = ?1 WHERE agent_id = ?2 AND last_connected_at <= ?1",
                )
                .bind(at)
                .bind(agent)
                .execute(writing.connection())
                .await
                .map(drop)
                .doing("record a disconnection")
            })
        })
        .await
    }
}

/// When an agent was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// For the first time.
    pub first_connected_at: Timestamp,
    /// For the last time it was seen.
    pub last_connected_at: Timestamp,
    /// When its last session ended.
    pub disconnected_at: Option<Timestamp>,
}
