//! The agents of a definition, and their tokens.

use protocol::definition::{Agent, Definition};
use protocol::definitions::AppliedAgent;
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::engine::{Writing, command, insert, query, row};
use super::super::keys::Claim;
use super::super::{Doing, StoreError};
use super::agent_parts::{keep_env, keep_metadata, keep_scripts};
use super::application::{Application, ApplyError};
use super::identity::{self, TokenHash};

row! {
    struct AgentRow {
        id: Uuid,
        name: String,
        position: i64,
        directory: String,
        motd_path: String,
        connection_timeout: i64,
        user_data: bool,
        resource: String,
        token_hash: TokenHash,
        proven: bool = "mac IS NOT NULL",
    }
}

row! {
    struct HolderRow {
        id: Uuid = "a.id",
        workspace_id: Uuid = "w.id",
        workspace: String = "w.name",
        owner_id: Uuid = "w.owner_id",
    }
}

/// Where agents are: owner and workspace.
pub(super) type Home = (Uuid, Uuid);

/// Makes a workspace have the agents of its definition. Gives them, and the names of those that it no longer has.
pub(super) async fn keep_agents(
    writing: &mut Writing,
    home: Home,
    definition: &Definition,
    index: usize,
    how: &Application,
    changes: &mut Vec<String>,
) -> Result<(Vec<AppliedAgent>, Vec<String>), ApplyError> {
    let (_, workspace) = home;
    let stored = query::<AgentRow>("SELECT {columns} FROM agents WHERE workspace_id = ?").bind(workspace);
    let mut stored = writing.sql.all(stored).await.doing("read the agents of a workspace")?;
    // First, because one that is there now may have the token of one that goes.
    let removed = remove(writing, definition, &mut stored, changes).await?;
    let mut agents = Vec::with_capacity(definition.agents.len());
    for (position, agent) in (0_i64..).zip(&definition.agents) {
        let old = stored.iter().position(|row| row.name.eq_ignore_ascii_case(&agent.name));
        let old = old.map(|at| stored.swap_remove(at));
        let given = given_token(writing, home, agent, old.as_ref(), index).await?;
        let token = keep(writing, home, (position, agent), old, given, how.rotate_tokens, changes).await?;
        agents.push(token);
    }
    Ok((agents, removed))
}

async fn remove(
    writing: &mut Writing,
    definition: &Definition,
    stored: &mut Vec<AgentRow>,
    changes: &mut Vec<String>,
) -> Result<Vec<String>, StoreError> {
    let stays = |row: &AgentRow| definition.agents.iter().any(|agent| agent.name.eq_ignore_ascii_case(&row.name));
    let mut removed = Vec::new();
    for row in stored.extract_if(.., |row| !stays(row)) {
        let delete = command("DELETE FROM agents WHERE id = ?").bind(row.id);
        writing.sql.execute(delete).await.doing("drop agents")?;
        changes.push(format!("agent {} removed", row.name));
        removed.push(row.name);
    }
    Ok(removed)
}

/// The token that the definition gives an agent, if it may have it.
async fn given_token(
    writing: &mut Writing,
    (owner, workspace): Home,
    agent: &Agent,
    old: Option<&AgentRow>,
    index: usize,
) -> Result<Option<TokenHash>, ApplyError> {
    let token = agent.token().map_err(|detail| ApplyError::Misfit { detail, index })?;
    let Some(hash) = token.map(identity::hash) else { return Ok(None) };
    let holder = query::<HolderRow>(
        "SELECT {columns} FROM agents a JOIN workspaces w ON w.id = a.workspace_id WHERE a.token_hash = ?",
    );
    let holder = writing.sql.optional(holder.bind(hash)).await.doing("look up an agent token")?;
    match holder {
        None => {}
        Some(holder) if old.is_some_and(|old| old.id == holder.id) => {}
        Some(holder) if holder.workspace_id == workspace => {
            // Two agents that exchange their tokens: the other one gets its new one in its turn.
            let free = command("UPDATE agents SET token_hash = ?, mac = NULL, mac_key_id = NULL WHERE id = ?");
            let free = free.bind(identity::hash(Uuid::new_v4())).bind(holder.id);
            writing.sql.execute(free).await.doing("free an agent token")?;
        }
        Some(holder) if holder.owner_id == owner => {
            return Err(ApplyError::TokenOfAnother { agent: agent.named(), workspace: holder.workspace, index });
        }
        Some(_) => return Err(ApplyError::TokenTaken { agent: agent.named(), index }),
    }
    Ok(Some(hash))
}

/// Stores an agent with its parts. It gets a token of the server's making if it is new, if that is wanted, or if its old one was ended; and if
/// none is given.
async fn keep(
    writing: &mut Writing,
    (owner, workspace): Home,
    (position, agent): (i64, &Agent),
    old: Option<AgentRow>,
    given: Option<TokenHash>,
    rotate_token: bool,
    changes: &mut Vec<String>,
) -> Result<AppliedAgent, StoreError> {
    let wants_new = rotate_token || old.as_ref().is_none_or(|old| !old.proven);
    let (hash, token) = match (given, &old) {
        (Some(given), _) => (given, None),
        (None, Some(old)) if !wants_new => (old.token_hash, None),
        (None, _) => {
            let token = Uuid::new_v4();
            (identity::hash(token), Some(Secret::from(token.to_string())))
        }
    };
    let id = old.as_ref().map_or_else(Uuid::new_v4, |old| old.id);
    match &old {
        None => changes.push(format!("agent {} added", agent.name)),
        Some(old) if old.token_hash != hash && token.is_none() => {
            changes.push(format!("agent {} got another token", agent.name));
        }
        Some(old) if !old.is(position, agent) => changes.push(format!("agent {} changed", agent.name)),
        Some(_) => {}
    }
    let differs = old.as_ref().is_none_or(|old| !old.proven || old.token_hash != hash || !old.is(position, agent));
    if differs {
        store(writing, (id, owner, workspace), position, agent, hash).await?;
    }
    // What a new agent has is no news beside it.
    let mut parts = Vec::new();
    keep_env(writing, owner, id, agent, &mut parts).await?;
    keep_scripts(writing, owner, id, agent, &mut parts).await?;
    keep_metadata(writing, id, agent, &mut parts).await?;
    if old.is_some() {
        changes.append(&mut parts);
    }
    Ok(AppliedAgent { name: agent.name.clone(), token })
}

impl AgentRow {
    fn is(&self, position: i64, agent: &Agent) -> bool {
        self.name == agent.name
            && self.position == position
            && self.directory == agent.directory
            && self.motd_path == agent.motd_file
            && self.connection_timeout == agent.connection_timeout
            && self.user_data == agent.user_data
            && self.resource == agent.resource
    }
}

async fn store(
    writing: &mut Writing,
    (id, owner, workspace): (Uuid, Uuid, Uuid),
    position: i64,
    agent: &Agent,
    hash: TokenHash,
) -> Result<(), StoreError> {
    let mac = writing.mac(&Claim::agent_token(id, workspace, owner, &hash)).await?;
    let now = writing.now();
    let keep = insert!("agents" {
        id: id,
        workspace_id: workspace,
        name: &agent.name,
        position: position,
        token_hash: hash,
        mac: mac.data,
        mac_key_id: mac.key,
        directory: &agent.directory,
        motd_path: &agent.motd_file,
        connection_timeout: agent.connection_timeout,
        user_data: agent.user_data,
        resource: &agent.resource,
        created_at: now,
        updated_at: now,
    } "ON CONFLICT (id) DO UPDATE SET name = excluded.name, position = excluded.position, \
         token_hash = excluded.token_hash, mac = excluded.mac, mac_key_id = excluded.mac_key_id, \
         directory = excluded.directory, motd_path = excluded.motd_path, \
         connection_timeout = excluded.connection_timeout, user_data = excluded.user_data, \
         resource = excluded.resource, updated_at = excluded.updated_at");
    writing.sql.execute(keep).await.map(drop).doing("keep an agent")
}
