//! Definitions into rows. Applying the same definition again changes nothing: no id, no token, no build.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::definition::Definition;
use protocol::definitions::AppliedWorkspace;
use protocol::workspace::Checked;
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Connection, Writing, command, query, row};
use super::super::generations;
use super::super::users;
use super::super::{Change, Doing, StoreError};
use super::application::{Application, ApplyError};
use super::keep_agents::keep_agents;
use super::{Workspaces, resources};

/// Definitions of one transaction.
const BATCH: usize = 200;

row! {
    struct WorkspaceRow { id: Uuid, name: String, build_id: Option<Uuid>, stopped: bool = "stopped_at IS NOT NULL" }
}

row! {
    struct CountRow { count: i64 = "count(*)" }
}

impl Workspaces<'_> {
    /// As an administrator on the server's machine does: see [`Workspaces::apply_all`].
    pub async fn apply(
        &self,
        definitions: Vec<Checked>,
        rotate_tokens: bool,
    ) -> Result<Vec<AppliedWorkspace>, ApplyError> {
        let definitions = definitions.into_iter().map(|checked| checked.definition).collect();
        self.apply_all(definitions, Application { rotate_tokens, ..Application::by_administrator() }).await
    }

    /// Makes the database hold these workspaces; other workspaces stay.
    ///
    /// All of them or, where one cannot be, none. More than [`BATCH`] are written a batch at a time: a transaction of ten thousand
    /// takes seconds, in which a running server could write nothing. Should the database fail between two batches, what was written
    /// stays, and applying again with new tokens completes it.
    pub async fn apply_all(
        &self,
        definitions: Vec<Definition>,
        how: Application,
    ) -> Result<Vec<AppliedWorkspace>, ApplyError> {
        let mut applied = Vec::with_capacity(definitions.len());
        self.check(&definitions, &how).await?;
        let mut definitions = definitions.into_iter();
        loop {
            let batch: Vec<_> = definitions.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(applied);
            }
            let first = applied.len();
            applied.extend(self.apply_batch(batch, first, how.clone()).await?);
        }
    }

    async fn check(&self, definitions: &[Definition], how: &Application) -> Result<(), ApplyError> {
        let mut sql = self.0.read().await.doing("look up the owners of workspaces")?;
        let mut known = BTreeSet::new();
        for (index, definition) in definitions.iter().enumerate() {
            definition.check().map_err(|misfit| ApplyError::Misfit { detail: misfit.detail, index })?;
            let owner = owner_of(definition, how, index)?;
            if !known.contains(owner) {
                require_owner(&mut sql, owner, index).await?;
                known.insert(owner);
            }
        }
        Ok(())
    }

    /// One transaction; `first` is the index of the first of them.
    async fn apply_batch(
        &self,
        batch: Vec<Definition>,
        first: usize,
        how: Application,
    ) -> Result<Vec<AppliedWorkspace>, ApplyError> {
        let batch = Arc::new(batch);
        let done = self.0.write(move |writing| {
            Box::pin(async move {
                let mut applied = Vec::with_capacity(batch.len());
                for (index, definition) in (first..).zip(batch.iter()) {
                    applied.push(apply(writing, definition, index, &how).await?);
                }
                if how.dry_run { Err(ApplyError::Rehearsed(applied)) } else { Ok(applied) }
            })
        });
        match done.await {
            Err(ApplyError::Rehearsed(applied)) => Ok(applied),
            done => done,
        }
    }

    /// Deletes the workspace with its agents; false when it is gone already. `path` is its `OWNER/NAME`.
    pub async fn delete(&self, actor: Actor, id: Uuid, path: String) -> Result<bool, StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let delete = command("DELETE FROM workspaces WHERE id = ?").bind(id);
                    let deleted = writing.sql.execute(delete).await.doing("delete a workspace")? > 0;
                    if deleted {
                        writing.changed(Change::Workspace(id));
                        let record = Record::new(actor, "delete", "workspace").on(id, &path);
                        audit::insert(writing, record).await?;
                    }
                    Ok(deleted)
                })
            })
            .await
    }
}

/// The name of the owner of a definition.
fn owner_of<'a>(definition: &'a Definition, how: &'a Application, index: usize) -> Result<&'a str, ApplyError> {
    match (&definition.owner, &how.owner) {
        (Some(named), Some(caller)) if !named.eq_ignore_ascii_case(caller) => {
            Err(ApplyError::OtherOwner { named: named.clone(), caller: caller.clone(), index })
        }
        (_, Some(owner)) | (Some(owner), None) => Ok(owner),
        (None, None) => Err(ApplyError::NoOwner { name: definition.name.clone(), index }),
    }
}

async fn apply(
    writing: &mut Writing,
    definition: &Definition,
    index: usize,
    how: &Application,
) -> Result<AppliedWorkspace, ApplyError> {
    let (owner_id, owner) = require_owner(&mut writing.sql, owner_of(definition, how, index)?, index).await?;
    let find = query::<WorkspaceRow>("SELECT {columns} FROM workspaces WHERE owner_id = ? AND {fold name} = {fold ?}");
    let found = find.bind(owner_id).bind(&definition.name);
    let found = writing.sql.optional(found).await.doing("read a workspace")?;
    let created = found.is_none();
    let mut changes = Vec::new();
    let workspace = match found {
        Some(found) => found,
        None => create(writing, (owner_id, &owner), definition, index, how.most, &mut changes).await?,
    };
    let stopped = definition.agents.is_empty();
    if workspace.name != definition.name {
        changes.push(format!("renamed from {}", workspace.name));
    }
    if workspace.stopped != stopped && !created {
        changes.push(if stopped { "stopped" } else { "started" }.into());
    }
    let place = (owner_id, workspace.id);
    // The agents of a stopped workspace stay, refused, for the day when it is started again.
    let (agents, removed) = if stopped {
        (Vec::new(), Vec::new())
    } else {
        keep_agents(writing, place, definition, index, how, &mut changes).await?
    };
    resources::keep(writing, owner_id, workspace.id, definition, &mut changes).await?;
    let new_tokens = agents.iter().any(|agent| agent.token.is_some());
    let mut build_id = workspace.build_id.unwrap_or(workspace.id);
    if !changes.is_empty() {
        build_id = if created { build_id } else { Uuid::new_v4() };
        keep_build(writing, &workspace, build_id, definition, created).await?;
    }
    if !changes.is_empty() || new_tokens {
        generations::grow_workspace(writing, workspace.id).await?;
        let action = if created { "create" } else { "write" };
        let record = Record::new(how.actor.clone(), action, "workspace");
        let record = record.on(workspace.id, &format!("{owner}/{}", definition.name));
        audit::insert(writing, record.diff(diff(&changes, &agents))).await?;
    }
    let name = definition.name.clone();
    Ok(AppliedWorkspace { owner, name, created, stopped, build_id, changes, agents, removed, notes: Vec::new() })
}

/// What changed, and which agents got a token. It is a credential, so the audit log has a record of each.
fn diff(changes: &[String], agents: &[protocol::definitions::AppliedAgent]) -> serde_json::Value {
    let new = agents.iter().filter(|agent| agent.token.is_some());
    let tokens = new.map(|agent| (format!("agent {} token", agent.name), serde_json::json!({ "secret": true })));
    let changes = (!changes.is_empty()).then(|| ("changes".to_owned(), serde_json::json!(changes)));
    tokens.chain(changes).collect()
}

/// Id and name of the owner, asked again in the transaction: a user may be deleted meanwhile.
async fn require_owner(sql: &mut Connection, owner: &str, index: usize) -> Result<(Uuid, String), ApplyError> {
    let found = sql.optional(users::named(owner)).await.doing("look up the owner of a workspace")?;
    found.map(|row| (row.id, row.username)).ok_or_else(|| ApplyError::UnknownOwner { owner: owner.to_owned(), index })
}

async fn create(
    writing: &mut Writing,
    (owner_id, owner): (Uuid, &str),
    definition: &Definition,
    index: usize,
    most: Option<u32>,
    changes: &mut Vec<String>,
) -> Result<WorkspaceRow, ApplyError> {
    if let Some(most) = most {
        // Two applies at the same time count one after the other.
        writing.sql.lock_user(owner_id).await.doing("lock the workspaces of a user")?;
        let count = query::<CountRow>("SELECT {columns} FROM workspaces WHERE owner_id = ?").bind(owner_id);
        if writing.sql.one(count).await.doing("count the workspaces of a user")?.count >= i64::from(most) {
            return Err(ApplyError::TooMany { owner: owner.to_owned(), most, index });
        }
    }
    let id = free_id(writing, definition.id).await?;
    let create =
        command("INSERT INTO workspaces (id, owner_id, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)");
    let create = create.bind(id).bind(owner_id).bind(&definition.name).bind(writing.now());
    writing.sql.execute(create).await.doing("create a workspace")?;
    changes.push("created".into());
    Ok(WorkspaceRow { id, name: definition.name.clone(), build_id: None, stopped: false })
}

/// The id that a definition asks for, unless another workspace has it.
async fn free_id(writing: &mut Writing, wanted: Option<Uuid>) -> Result<Uuid, StoreError> {
    let Some(wanted) = wanted.filter(|id| !id.is_nil()) else { return Ok(Uuid::new_v4()) };
    let taken = query::<CountRow>("SELECT {columns} FROM workspaces WHERE id = ?").bind(wanted);
    let taken = writing.sql.one(taken).await.doing("look up the id of a workspace")?.count > 0;
    Ok(if taken { Uuid::new_v4() } else { wanted })
}

async fn keep_build(
    writing: &mut Writing,
    workspace: &WorkspaceRow,
    build: Uuid,
    definition: &Definition,
    first: bool,
) -> Result<(), StoreError> {
    let now = writing.now();
    let keep = command(
        "UPDATE workspaces SET name = ?, build_id = ?, build_number = build_number + ?, updated_at = ?, stopped_at = ? \
         WHERE id = ?",
    );
    let keep = keep.bind(&definition.name).bind(build).bind(i64::from(!first)).bind(now);
    let keep = keep.bind(definition.agents.is_empty().then_some(now)).bind(workspace.id);
    writing.sql.execute(keep).await.map(drop).doing("keep a build")
}
