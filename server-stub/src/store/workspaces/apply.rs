//! Definitions into rows. Applying the same definition again changes no id and no token.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::secret::Secret;
use protocol::workspace::Checked;
use protocol::workspace::definition::Agent;
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Connection, Writing, command, query, row};
use super::super::generations;
use super::super::keys::Claim;
use super::super::users;
use super::super::{Change, Doing, StoreError};
use super::Workspaces;
use super::agent_parts::{keep_env, keep_metadata, keep_scripts};
use super::identity::{self, TokenHash};

/// Definitions of one transaction.
const BATCH: usize = 200;

/// What applying one definition came to.
#[derive(Debug)]
pub struct AppliedWorkspace {
    /// The owner's name, as the user is spelt.
    pub owner: String,
    /// The workspace.
    pub name: String,
    /// Whether it is new.
    pub created: bool,
    /// Its agents, in the order of the definition.
    pub agents: Vec<AppliedAgent>,
    /// Agents that the definition no longer has; their tokens are dead.
    pub removed: Vec<String>,
}

/// An agent of an applied definition.
#[derive(Debug)]
pub struct AppliedAgent {
    /// Its name.
    pub name: String,
    /// Its token, where it got a new one. It is nowhere else: the database has a hash.
    pub token: Option<Secret>,
}

/// Why definitions are not applied. None of them is, then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The owner of a definition does not exist.
    #[error("no user is named {owner}; make one with: coder-server user create {owner}")]
    UnknownOwner {
        /// The name.
        owner: String,
        /// Which of the definitions.
        index: usize,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

row! {
    struct IdRow { id: Uuid }
}

row! {
    struct AgentRow { name: String, directory: String, motd_path: String }
}

row! {
    struct KeptRow { id: Uuid, token_hash: TokenHash }
}

row! {
    struct NameRow { name: String }
}

impl Workspaces<'_> {
    /// Makes the database hold these workspaces; other workspaces stay.
    ///
    /// All of them or, where an owner is unknown, none. More than [`BATCH`] are written a batch at a time: a transaction of ten thousand
    /// takes seconds, in which a running server could write nothing. Should the database fail between two batches, what was written
    /// stays, and applying again with new tokens completes it.
    pub async fn apply(
        &self,
        definitions: Vec<Checked>,
        rotate_tokens: bool,
    ) -> Result<Vec<AppliedWorkspace>, ApplyError> {
        let mut applied = Vec::with_capacity(definitions.len());
        self.check_owners(&definitions).await?;
        let mut definitions = definitions.into_iter();
        loop {
            let batch: Vec<_> = definitions.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(applied);
            }
            let first = applied.len();
            applied.extend(self.apply_batch(batch, first, rotate_tokens).await?);
        }
    }

    async fn check_owners(&self, definitions: &[Checked]) -> Result<(), ApplyError> {
        let mut sql = self.0.read().await.doing("look up the owners of workspaces")?;
        let mut known = BTreeSet::new();
        for (index, definition) in definitions.iter().enumerate() {
            let owner = definition.workspace().owner.value.as_str();
            if !known.contains(owner) {
                require_owner(&mut sql, definition, index).await?;
                known.insert(owner);
            }
        }
        Ok(())
    }

    /// One transaction; `first` is the index of the first of them.
    async fn apply_batch(
        &self,
        batch: Vec<Checked>,
        first: usize,
        rotate_tokens: bool,
    ) -> Result<Vec<AppliedWorkspace>, ApplyError> {
        let batch = Arc::new(batch);
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let mut applied = Vec::with_capacity(batch.len());
                    for (index, definition) in (first..).zip(batch.iter()) {
                        applied.push(apply(writing, definition, index, rotate_tokens).await?);
                    }
                    Ok(applied)
                })
            })
            .await
    }

    /// Deletes the workspace `OWNER/NAME` with its agents; false when it is gone already.
    pub async fn delete(&self, id: Uuid, path: String) -> Result<bool, StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let delete = command("DELETE FROM workspaces WHERE id = ?").bind(id);
                    let deleted = writing.sql.execute(delete).await.doing("delete a workspace")? > 0;
                    if deleted {
                        writing.changed(Change::Workspace(id));
                        let record = Record::new(Actor::Administrator, "delete", "workspace").on(id, &path);
                        audit::insert(writing, record).await?;
                    }
                    Ok(deleted)
                })
            })
            .await
    }
}

async fn apply(
    writing: &mut Writing,
    definition: &Checked,
    index: usize,
    rotate_tokens: bool,
) -> Result<AppliedWorkspace, ApplyError> {
    let workspace = definition.workspace();
    let (owner_id, owner) = require_owner(&mut writing.sql, definition, index).await?;
    let (workspace_id, created) = keep_workspace(writing, owner_id, workspace.name.value.as_str()).await?;
    let (mut agents, mut changed) = (Vec::new(), false);
    for (position, (agent, env)) in (0..).zip(definition.agents()) {
        changed |= !is_same(&mut writing.sql, workspace_id, agent).await?;
        let (id, token) = keep_agent(writing, (owner_id, workspace_id), position, agent, rotate_tokens).await?;
        changed |= token.is_some();
        changed |= keep_env(writing, owner_id, id, env).await?;
        changed |= keep_scripts(writing, id, &agent.scripts).await?;
        changed |= keep_metadata(&mut writing.sql, id, &agent.metadata).await?;
        agents.push(AppliedAgent { name: agent.name.value.to_string(), token });
    }
    let kept = agents.iter().map(|agent| agent.name.clone()).collect();
    let removed = remove_agents(&mut writing.sql, workspace_id, kept).await?;
    if changed || !removed.is_empty() {
        generations::grow_workspace(writing, workspace_id).await?;
    }
    let name = workspace.name.value.as_str();
    let action = if created { "create" } else { "write" };
    let record = Record::new(Actor::Administrator, action, "workspace").on(workspace_id, &format!("{owner}/{name}"));
    audit::insert(writing, record.diff(tokens(&agents))).await?;
    Ok(AppliedWorkspace { owner, name: workspace.name.value.to_string(), created, agents, removed })
}

/// Which agents got a token; it is a credential, so the audit log has a record of each.
fn tokens(agents: &[AppliedAgent]) -> serde_json::Value {
    let new = agents.iter().filter(|agent| agent.token.is_some());
    new.map(|agent| (format!("agent {} token", agent.name), serde_json::json!({ "secret": true }))).collect()
}

/// Id and name of the owner, asked again in the transaction: a user may be deleted meanwhile.
async fn require_owner(sql: &mut Connection, definition: &Checked, index: usize) -> Result<(Uuid, String), ApplyError> {
    let owner = definition.workspace().owner.value.as_str();
    let found = sql.optional(users::named(owner)).await.doing("look up the owner of a workspace")?;
    found.map(|row| (row.id, row.username)).ok_or_else(|| ApplyError::UnknownOwner { owner: owner.to_owned(), index })
}

async fn keep_workspace(writing: &mut Writing, owner: Uuid, name: &str) -> Result<(Uuid, bool), StoreError> {
    let new = Uuid::new_v4();
    let keep = query::<IdRow>(
        "INSERT INTO workspaces (id, owner_id, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4) \
         ON CONFLICT (owner_id, {fold name}) DO UPDATE SET name = excluded.name, updated_at = excluded.updated_at \
         RETURNING {columns}",
    );
    let keep = keep.bind(new).bind(owner).bind(name).bind(writing.now());
    let kept = writing.sql.one(keep).await.doing("keep a workspace")?;
    Ok((kept.id, kept.id == new))
}

/// Whether the agent has what the definition says of itself. Its variables, scripts and metadata have their own functions.
async fn is_same(sql: &mut Connection, workspace: Uuid, agent: &Agent) -> Result<bool, StoreError> {
    let stored = query::<AgentRow>("SELECT {columns} FROM agents WHERE workspace_id = ? AND {fold name} = {fold ?}");
    let stored = stored.bind(workspace).bind(agent.name.value.as_str());
    let stored = sql.optional(stored).await.doing("read an agent")?;
    Ok(stored.is_some_and(|stored| {
        stored.name == agent.name.value.as_str()
            && stored.directory == agent.dir.as_ref().map_or("", |dir| dir.as_str())
            && stored.motd_path == agent.motd_file.as_ref().map_or("", |path| path.as_str())
    }))
}

/// Its id, and its token if it got a new one: because it is new, because that is wanted, or because its old one was ended.
async fn keep_agent(
    writing: &mut Writing,
    (owner, workspace): (Uuid, Uuid),
    position: i64,
    agent: &Agent,
    rotate_token: bool,
) -> Result<(Uuid, Option<Secret>), StoreError> {
    let token = Uuid::new_v4();
    let hash = identity::hash(token);
    let keep = query::<KeptRow>(
        "INSERT INTO agents (id, workspace_id, name, position, token_hash, directory, motd_path, connection_timeout, \
                             created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) \
         ON CONFLICT (workspace_id, {fold name}) DO UPDATE SET name = excluded.name, position = excluded.position, \
           directory = excluded.directory, motd_path = excluded.motd_path, \
           connection_timeout = excluded.connection_timeout, updated_at = excluded.updated_at, \
           token_hash = CASE WHEN ?10 OR agents.mac IS NULL THEN excluded.token_hash ELSE agents.token_hash END \
         RETURNING {columns}",
    )
    .bind(Uuid::new_v4())
    .bind(workspace)
    .bind(agent.name.value.as_str())
    .bind(position)
    .bind(hash)
    .bind(agent.dir.as_ref().map_or("", |dir| dir.as_str()))
    .bind(agent.motd_file.as_ref().map_or("", |path| path.as_str()))
    .bind(agent.connection_timeout.get())
    .bind(writing.now())
    .bind(rotate_token);
    let kept = writing.sql.one(keep).await.doing("keep an agent")?;
    if kept.token_hash != hash {
        return Ok((kept.id, None));
    }
    let mac = writing.mac(&Claim::agent_token(kept.id, workspace, owner, &hash)).await?;
    let prove = command("UPDATE agents SET mac = ?, mac_key_id = ? WHERE id = ?");
    let prove = prove.bind(mac.data).bind(mac.key).bind(kept.id);
    writing.sql.execute(prove).await.doing("keep the token of an agent")?;
    Ok((kept.id, Some(Secret::from(token.to_string()))))
}

async fn remove_agents(sql: &mut Connection, workspace: Uuid, kept: Vec<String>) -> Result<Vec<String>, StoreError> {
    let remove =
        query::<NameRow>("DELETE FROM agents WHERE workspace_id = ? AND name NOT IN ({each text}) RETURNING {columns}");
    let removed = sql.all(remove.bind(workspace).bind(kept)).await.doing("drop agents")?;
    Ok(removed.into_iter().map(|row| row.name).collect())
}
