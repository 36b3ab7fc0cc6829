//! Workspaces and agents as JSON in the shape of Coder's API. A server without provisioning leaves out what it does not know.
//!
//! The variables of a template are never included: no route and no command shows their values.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::log::Level;
use protocol::rest::WorkspaceAgentLogSource;
use serde_json::{Value, json};

use crate::store::workspaces::{Agent, Connection, Line, ResourceItem, Script, Workspace};
use crate::store::{Store, StoreError};

/// Coder's word for a lifecycle state.
#[must_use]
pub fn lifecycle_word(state: State) -> String {
    state.as_str_name().to_ascii_lowercase()
}

/// Coder's word for a log level; `info` for an unknown one, as in the store.
#[must_use]
pub fn level_word(level: i32) -> &'static str {
    match Level::try_from(level) {
        Ok(Level::Trace) => "trace",
        Ok(Level::Debug) => "debug",
        Ok(Level::Warn) => "warn",
        Ok(Level::Error) => "error",
        Ok(Level::Info | Level::Unspecified) | Err(_) => "info",
    }
}

/// A workspace with its agents.
pub async fn workspace(store: &Store, workspace: &Workspace) -> Result<Value, StoreError> {
    let failing: Vec<_> =
        workspace.agents.iter().filter(|agent| reason(agent).is_some()).map(|agent| agent.id).collect();
    let healthy = failing.is_empty() || workspace.stopped_at.is_some();
    Ok(json!({
        "id": workspace.id,
        "name": workspace.name,
        "owner_id": workspace.owner_id,
        "owner_name": workspace.owner_name,
        "created_at": workspace.created_at,
        "updated_at": workspace.updated_at,
        "last_used_at": last_used(workspace),
        "outdated": false,
        "health": { "healthy": healthy, "failing_agents": if healthy { Vec::new() } else { failing } },
        "latest_build": build(store, workspace).await?,
    }))
}

/// The latest build, which clients expect: an apply that changed something counts as one successful build.
pub async fn build(store: &Store, workspace: &Workspace) -> Result<Value, StoreError> {
    let stopped = workspace.stopped_at.is_some();
    let transition = if stopped { "stop" } else { "start" };
    Ok(json!({
        "id": workspace.build_id,
        "workspace_id": workspace.id,
        "workspace_name": workspace.name,
        "workspace_owner_id": workspace.owner_id,
        "workspace_owner_name": workspace.owner_name,
        "build_number": workspace.build_number,
        "created_at": workspace.updated_at,
        "updated_at": workspace.updated_at,
        "transition": transition,
        "status": if stopped { "stopped" } else { "running" },
        "job": { "id": workspace.build_id, "created_at": workspace.updated_at, "status": "succeeded" },
        "resources": resources(store, workspace, transition).await?,
    }))
}

/// The resources with their agents. An agent whose machine is none of them stands in a resource of its own.
async fn resources(store: &Store, workspace: &Workspace, transition: &str) -> Result<Vec<Value>, StoreError> {
    let stored = store.workspaces().resources(workspace.id).await?;
    let mut lonely = Vec::new();
    let mut placed: Vec<Vec<Value>> = stored.iter().map(|_| Vec::new()).collect();
    // Those of a stopped workspace wait for its next start, and are nothing to connect to.
    for found in workspace.agents.iter().filter(|_| workspace.stopped_at.is_none()) {
        let at = stored.iter().position(|resource| !found.resource.is_empty() && resource.address == found.resource);
        match at.and_then(|at| placed.get_mut(at)) {
            Some(agents) => agents.push(agent(store, found).await?),
            None => lonely.push(agent(store, found).await?),
        }
    }
    let own = (stored.is_empty() || !lonely.is_empty()).then(|| {
        json!({
            "id": workspace.id,
            "created_at": workspace.created_at,
            "workspace_transition": transition,
            "type": "workspace",
            "name": workspace.name,
            "hide": false,
            "icon": "",
            "agents": lonely,
            "metadata": [],
            "daily_cost": 0,
        })
    });
    let shown = stored.iter().zip(placed).map(|(stored, agents)| {
        json!({
            "id": stored.id,
            "created_at": workspace.updated_at,
            "workspace_transition": transition,
            "type": stored.kind,
            "name": stored.name,
            "address": stored.address,
            "module_path": stored.module_path,
            "hide": stored.hide,
            "icon": stored.icon,
            "agents": agents,
            "metadata": stored.items.iter().map(item).collect::<Vec<_>>(),
            "daily_cost": stored.daily_cost,
        })
    });
    Ok(own.into_iter().chain(shown).collect())
}

/// A sensitive value is not here: it is read by a call of its own.
fn item(item: &ResourceItem) -> Value {
    json!({
        "id": item.id,
        "key": item.key,
        "value": item.value.clone().unwrap_or_default(),
        "sensitive": item.sensitive,
    })
}

fn last_used(workspace: &Workspace) -> Timestamp {
    let seen = workspace.agents.iter().filter_map(|agent| agent.presence.map(|presence| presence.last_connected_at));
    seen.max().unwrap_or(workspace.created_at)
}

/// An agent with its scripts and log sources.
pub async fn agent(store: &Store, agent: &Agent) -> Result<Value, StoreError> {
    let presence = agent.presence;
    let scripts = store.agents().scripts(agent.id).await?;
    let sources: Vec<WorkspaceAgentLogSource> = store.logs().sources(agent.id).await?;
    let blocking = scripts.iter().any(|script| script.start_blocks_login);
    Ok(json!({
        "id": agent.id,
        "name": agent.name,
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
        "first_connected_at": presence.map(|presence| presence.first_connected_at),
        "last_connected_at": presence.map(|presence| presence.last_connected_at),
        "disconnected_at": presence.and_then(|presence| presence.disconnected_at),
        "started_at": agent.started_at,
        "ready_at": agent.ready_at,
        "status": agent.connection().as_str(),
        "lifecycle_state": lifecycle_word(agent.lifecycle),
        "health": { "healthy": reason(agent).is_none(), "reason": reason(agent) },
        "directory": agent.directory,
        "expanded_directory": agent.expanded_directory,
        "version": agent.version,
        "api_version": agent.api_version,
        "subsystems": agent.subsystems,
        "connection_timeout_seconds": agent.connection_timeout,
        "startup_script_behavior": if blocking { "blocking" } else { "non-blocking" },
        "apps": [],
        "display_apps": [],
        "scripts": scripts.iter().map(script).collect::<Vec<_>>(),
        "log_sources": sources,
        "logs_length": agent.logs_bytes,
        "logs_overflowed": agent.logs_overflowed,
    }))
}

/// Why an agent is not healthy.
fn reason(agent: &Agent) -> Option<&'static str> {
    match (agent.connection(), agent.lifecycle) {
        (Connection::Timeout, _) => Some("agent is taking too long to connect"),
        (Connection::Disconnected, State::Off | State::ShutdownError | State::ShutdownTimeout) => None,
        (Connection::Disconnected, _) => Some("agent has lost connection"),
        (_, State::StartError) => Some("agent startup scripts exited with an error"),
        (_, State::StartTimeout) => Some("agent startup scripts are taking too long"),
        _ => None,
    }
}

fn script(script: &Script) -> Value {
    json!({
        "id": script.id,
        "log_source_id": script.log_source_id,
        "log_path": script.log_path,
        "display_name": script.display_name,
        "script": script.script,
        "cron": script.cron,
        "run_on_start": script.run_on_start,
        "run_on_stop": script.run_on_stop,
        "start_blocks_login": script.start_blocks_login,
        // A Go duration, which counts nanoseconds.
        "timeout": script.timeout.saturating_mul(1_000_000_000),
    })
}

/// A line of a log.
#[must_use]
pub fn line(line: &Line) -> Value {
    json!({
        "id": line.id,
        "created_at": line.created_at,
        "level": level_word(line.level),
        "output": line.output,
        "source_id": line.source_id,
    })
}
