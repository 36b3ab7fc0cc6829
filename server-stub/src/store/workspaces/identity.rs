//! Who an agent is.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::engine::{Database, query, row};
use super::super::keys::{Claim, KeyId};
use super::super::macs::Stored;
use super::super::{Current, Doing, Generation, StoreError};

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
    /// Whether it gets the owner's secrets and git key.
    pub user_data: bool,
    /// Hash of the token it has shown; another one in the database means that this session must end.
    pub token_hash: TokenHash,
    /// Its workspace gets nothing any more.
    pub is_revoked: bool,
}

impl AgentIdentity {
    /// `OWNER/WORKSPACE/AGENT`, for log lines and audit records.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.owner_name, self.workspace_name, self.name)
    }
}

row! {
    struct IdentityRow {
        id: Uuid = "a.id",
        name: String = "a.name",
        workspace_id: Uuid = "w.id",
        workspace_name: String = "w.name",
        owner_id: Uuid = "u.id",
        owner_name: String = "u.username",
        user_data: bool = "a.user_data",
        token_hash: TokenHash = "a.token_hash",
        mac: Option<Vec<u8>> = "a.mac",
        mac_key_id: Option<KeyId> = "a.mac_key_id",
        revoked_at: Option<Timestamp> = "w.revoked_at",
    }
}

row! {
    struct GenerationRow {
        id: Uuid = "a.id",
        epoch: i64 = "d.epoch",
        number: i64 = "u.generation + w.generation + d.generation",
        revoked_at: Option<Timestamp> = "w.revoked_at",
    }
}

row! {
    struct LostRow { value: TokenHash }
}

/// Agents: who they are and what they are given.
#[derive(Clone, Copy)]
pub struct Agents<'a>(pub(in crate::store) &'a Database);

impl Agents<'_> {
    /// The agent with this token, unless its owner is suspended or its workspace stopped.
    pub async fn by_token(&self, token: &str) -> Result<Option<AgentIdentity>, StoreError> {
        let Some(token_hash) = token_hash(token) else { return Ok(None) };
        let find = query::<IdentityRow>(
            "SELECT {columns} FROM agents a JOIN workspaces w ON w.id = a.workspace_id JOIN users u ON u.id = w.owner_id \
             WHERE a.token_hash = ? AND u.suspended_at IS NULL AND w.stopped_at IS NULL",
        );
        let found = self.0.optional(find.bind(token_hash)).await.doing("look up an agent token")?;
        let Some(row) = found else { return Ok(None) };
        let claim = Claim::agent_token(row.id, row.workspace_id, row.owner_id, &row.token_hash);
        let proven = Stored { mac: row.mac, key: row.mac_key_id }.proves(self.0.keys(), &claim);
        let identity = AgentIdentity {
            id: row.id,
            name: row.name,
            workspace_id: row.workspace_id,
            workspace_name: row.workspace_name,
            owner_id: row.owner_id,
            owner_name: row.owner_name,
            user_data: row.user_data,
            token_hash: row.token_hash,
            is_revoked: row.revoked_at.is_some(),
        };
        if !proven {
            tracing::warn!(agent = identity.path(), "refused an agent token that no server with the keys made");
        }
        Ok(proven.then_some(identity))
    }

    /// What each of these agents is to have, as far as it exists.
    pub async fn current(&self, agents: &[Uuid]) -> Result<HashMap<Uuid, Current>, StoreError> {
        let current = query::<GenerationRow>(
            "SELECT {columns} FROM agents a JOIN workspaces w ON w.id = a.workspace_id JOIN users u ON u.id = w.owner_id \
             CROSS JOIN deployment d WHERE a.id IN ({each uuid})",
        );
        let rows = self.0.all(current.bind(agents.to_vec())).await.doing("read the generations of agents")?;
        let entry = |row: GenerationRow| {
            let generation = Generation { epoch: row.epoch, number: row.number };
            (row.id, Current { generation, is_revoked: row.revoked_at.is_some() })
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Which of these tokens no agent has any more, or only one whose owner is suspended or whose workspace is stopped. Asked for the connected ones, so that the answer costs the same however many users
    /// the database has.
    pub async fn lost_tokens(&self, tokens: &[TokenHash]) -> Result<HashSet<TokenHash>, StoreError> {
        let lost = query::<LostRow>(
            "SELECT {columns} FROM ({each bytes}) AS shown WHERE NOT EXISTS (SELECT 1 FROM agents a \
               JOIN workspaces w ON w.id = a.workspace_id JOIN users u ON u.id = w.owner_id \
               WHERE a.token_hash = shown.value AND u.suspended_at IS NULL AND w.stopped_at IS NULL)",
        );
        let shown: Vec<Vec<u8>> = tokens.iter().map(|hash| hash.to_vec()).collect();
        let rows = self.0.all(lost.bind(shown)).await.doing("look up agent tokens")?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }
}
