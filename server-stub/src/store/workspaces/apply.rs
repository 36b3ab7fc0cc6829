//! Definitions into rows. Applying the same definition again changes no id and no token.

use std::collections::BTreeSet;

use protocol::secret::Secret;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::{Doing, Store, StoreError, Writing};
use super::belongings::{keep_metadata, keep_scripts, replace_env};
use super::presence;
use protocol::workspace::Checked;
use protocol::workspace::definition::Agent;

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

impl Store {
    /// Makes the database hold these workspaces; other workspaces stay.
    ///
    /// All of them or, where an owner is unknown, none. More than [`BATCH`] are written a batch at a time: a transaction of ten thousand
    /// takes seconds, in which a running server could write nothing. Should the database fail between two batches, what was written
    /// stays, and applying again with new tokens completes it.
    pub async fn apply_workspaces(
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
        let mut connection = self.reader().acquire().await.doing("look up the owners of workspaces")?;
        let mut known = BTreeSet::new();
        for (index, definition) in definitions.iter().enumerate() {
            let owner = definition.workspace().owner.value.as_str();
            if !known.contains(owner) {
                require_owner(&mut connection, definition, index).await?;
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
        self.write(move |writing| {
            Box::pin(async move {
                let mut applied = Vec::with_capacity(batch.len());
                for (index, definition) in (first..).zip(&batch) {
                    applied.push(apply(writing, definition, index, rotate_tokens).await?);
                }
                Ok(applied)
            })
        })
        .await
    }

    /// Deletes the workspace `OWNER/NAME` with its agents; false when it is gone already.
    pub async fn delete_workspace(&self, id: Uuid, path: String) -> Result<bool, StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM workspaces WHERE id = ?")
                    .bind(id)
                    .execute(writing.connection())
                    .await
                    .doing("delete a workspace")?;
                if deleted.rows_affected() > 0 {
                    let record = Record::new(Actor::Administrator, "delete", "workspace").on(id, &path);
                    audit::insert(writing, record).await?;
                }
                Ok(deleted.rows_affected() > 0)
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
    let (owner_id, owner) = require_owner(writing.connection(), definition, index).await?;
    let (workspace_id, created) = keep_workspace(writing, owner_id, workspace.name.value.as_str()).await?;
    let mut agents = Vec::new();
    for (position, (agent, env)) in (0..).zip(definition.agents()) {
        let (id, token) = keep_agent(writing, workspace_id, position, agent, rotate_tokens).await?;
        replace_env(writing, owner_id, id, env).await?;
        keep_scripts(writing, id, &agent.scripts).await?;
        keep_metadata(writing.connection(), id, &agent.metadata).await?;
        agents.push(AppliedAgent { name: agent.name.value.to_string(), token });
    }
    let kept: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    let removed = remove_agents(writing.connection(), workspace_id, &kept).await?;
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
async fn require_owner(
    connection: &mut SqliteConnection,
    definition: &Checked,
    index: usize,
) -> Result<(Uuid, String), ApplyError> {
    let owner = definition.workspace().owner.value.as_str();
    let row = sqlx::query("SELECT id, username FROM users WHERE username = ?")
        .bind(owner)
        .fetch_optional(connection)
        .await
        .doing("look up the owner of a workspace")?;
    row.map(|row| (row.get(0), row.get(1))).ok_or_else(|| ApplyError::UnknownOwner { owner: owner.to_owned(), index })
}

async fn keep_workspace(writing: &mut Writing, owner: Uuid, name: &str) -> Result<(Uuid, bool), StoreError> {
    let now = writing.now().as_microsecond();
    let new = Uuid::new_v4();
    let row = sqlx::query(
        "INSERT INTO workspaces VALUES (?1, ?2, ?3, ?4, ?4) \
         ON CONFLICT (owner_id, name) DO UPDATE SET name = ?3, updated_at = ?4 RETURNING id",
    )
    .bind(new)
    .bind(owner)
    .bind(name)
    .bind(now)
    .fetch_one(writing.connection())
    .await
    .doing("keep a workspace")?;
    let id = row.get(0);
    Ok((id, id == new))
}

async fn keep_agent(
    writing: &mut Writing,
    workspace: Uuid,
    position: i64,
    agent: &Agent,
    rotate_token: bool,
) -> Result<(Uuid, Option<Secret>), StoreError> {
    let now = writing.now().as_microsecond();
    let (new, token) = (Uuid::new_v4(), Uuid::new_v4());
    let row = sqlx::query(
        "INSERT INTO agents (id, workspace_id, name, position, token_hash, directory, motd_path, connection_timeout, \
                             created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9) \
         ON CONFLICT (workspace_id, name) DO UPDATE SET name = ?3, position = ?4, directory = ?6, motd_path = ?7, \
           connection_timeout = ?8, updated_at = ?9, token_hash = iif(?10, ?5, token_hash) RETURNING id",
    )
    .bind(new)
    .bind(workspace)
    .bind(agent.name.value.as_str())
    .bind(position)
    .bind(presence::hash(token).as_slice().to_owned())
    .bind(agent.dir.as_ref().map_or("", |dir| dir.as_str()))
    .bind(agent.motd_file.as_ref().map_or("", |path| path.as_str()))
    .bind(agent.connection_timeout.get())
    .bind(now)
    .bind(rotate_token)
    .fetch_one(writing.connection())
    .await
    .doing("keep an agent")?;
    let id = row.get(0);
    Ok((id, (id == new || rotate_token).then(|| Secret::from(token.to_string()))))
}

async fn remove_agents(
    connection: &mut SqliteConnection,
    workspace: Uuid,
    kept: &[&str],
) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(
        "DELETE FROM agents WHERE workspace_id = ? AND name NOT IN (SELECT value FROM json_each(?)) RETURNING name",
    )
    .bind(workspace)
    .bind(serde_json::Value::from(kept.to_vec()).to_string())
    .fetch_all(connection)
    .await
    .doing("drop agents")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
