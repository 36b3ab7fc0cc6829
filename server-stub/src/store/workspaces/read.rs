//! Reading workspaces and what their agents reported.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use uuid::Uuid;

use super::super::engine::{Connection, Database, Query, query, row};
use super::super::{Doing, StoreError};
use super::view::{Agent, Metadata, Script, Seen, Timing, Workspace, shown_name};
use super::{Agents, Revocation};

row! {
    struct WorkspaceRow {
        id: Uuid = "w.id",
        owner_id: Uuid = "w.owner_id",
        owner_name: String = "u.username",
        name: String = "w.name",
        created_at: Timestamp = "w.created_at",
        updated_at: Timestamp = "w.updated_at",
        revoked_at: Option<Timestamp> = "w.revoked_at",
        revoked_reason: String = "w.revoked_reason",
        build_id: Option<Uuid> = "w.build_id",
        build_number: i64 = "w.build_number",
        stopped_at: Option<Timestamp> = "w.stopped_at",
    }
}

row! {
    struct AgentRow {
        id: Uuid = "a.id",
        name: String = "a.name",
        directory: String = "a.directory",
        expanded_directory: String = "a.expanded_directory",
        motd_path: String = "a.motd_path",
        resource: String = "a.resource",
        connection_timeout: i64 = "a.connection_timeout",
        created_at: Timestamp = "a.created_at",
        updated_at: Timestamp = "a.updated_at",
        version: String = "a.version",
        api_version: String = "a.api_version",
        subsystems: String = "a.subsystems",
        lifecycle_state: i32 = "a.lifecycle_state",
        started_at: Option<Timestamp> = "a.started_at",
        ready_at: Option<Timestamp> = "a.ready_at",
        first_connected_at: Option<Timestamp> = "p.first_connected_at",
        last_connected_at: Option<Timestamp> = "p.last_connected_at",
        disconnected_at: Option<Timestamp> = "p.disconnected_at",
        logs_bytes: i64 = "a.logs_bytes",
        logs_overflowed: bool = "a.logs_overflowed",
    }
}

row! {
    struct ScriptRow {
        id: Uuid = "s.id",
        log_source_id: Uuid = "s.log_source_id",
        display_name: String = "s.display_name",
        script: String = "s.script",
        sensitive: bool = "s.sealed_script IS NOT NULL",
        cron: String = "s.cron",
        log_path: String = "s.log_path",
        timeout: i64 = "s.timeout",
        run_on_start: bool = "s.run_on_start",
        run_on_stop: bool = "s.run_on_stop",
        start_blocks_login: bool = "s.start_blocks_login",
        started_at: Option<Timestamp> = "t.started_at",
        ended_at: Option<Timestamp> = "t.ended_at",
        exit_code: Option<i32> = "t.exit_code",
        stage: Option<i32> = "t.stage",
        status: Option<i32> = "t.status",
    }
}

row! {
    struct StateRow { state: i32, changed_at: Timestamp }
}

/// Workspaces and their definitions.
#[derive(Clone, Copy)]
pub struct Workspaces<'a>(pub(in crate::store) &'a Database);

impl Workspaces<'_> {
    /// All workspaces, by owner and name.
    pub async fn list(&self) -> Result<Vec<Workspace>, StoreError> {
        self.select(query(
            "SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id \
             ORDER BY {fold u.username}, {fold w.name}",
        ))
        .await
    }

    /// The workspaces of one owner, by name.
    pub async fn of_owner(&self, owner: Uuid) -> Result<Vec<Workspace>, StoreError> {
        let of_owner = query(
            "SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id \
             WHERE w.owner_id = ? ORDER BY {fold w.name}",
        );
        self.select(of_owner.bind(owner)).await
    }

    /// The workspace of that id.
    pub async fn find(&self, id: Uuid) -> Result<Option<Workspace>, StoreError> {
        let find = query("SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id WHERE w.id = ?");
        Ok(self.select(find.bind(id)).await?.into_iter().next())
    }

    /// The workspace of that owner and name, whatever their letter case.
    pub async fn named(&self, owner: &str, name: &str) -> Result<Option<Workspace>, StoreError> {
        if !self.0.can_hold(owner) || !self.0.can_hold(name) {
            return Ok(None);
        }
        let find = query(
            "SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id \
             WHERE {fold u.username} = {fold ?} AND {fold w.name} = {fold ?}",
        );
        Ok(self.select(find.bind(owner).bind(name)).await?.into_iter().next())
    }

    /// The workspace whose latest build has that id.
    pub async fn of_build(&self, build: Uuid) -> Result<Option<Workspace>, StoreError> {
        let find = query(
            "SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id \
             WHERE w.build_id = ?1 OR (w.build_id IS NULL AND w.id = ?1)",
        );
        Ok(self.select(find.bind(build)).await?.into_iter().next())
    }

    /// The workspace that an agent belongs to.
    pub async fn of_agent(&self, agent: Uuid) -> Result<Option<Workspace>, StoreError> {
        let find = query(
            "SELECT {columns} FROM workspaces w JOIN users u ON u.id = w.owner_id \
             WHERE w.id = (SELECT workspace_id FROM agents WHERE id = ?)",
        );
        Ok(self.select(find.bind(agent)).await?.into_iter().next())
    }

    /// One snapshot, so that a workspace is not shown with the agents of another moment.
    async fn select(&self, workspaces: Query<WorkspaceRow>) -> Result<Vec<Workspace>, StoreError> {
        let action = "read the workspaces";
        let mut sql = self.0.snapshot().await.doing(action)?;
        let rows = sql.all(workspaces).await.doing(action)?;
        let mut workspaces = Vec::with_capacity(rows.len());
        for row in rows {
            let agents = agents(&mut sql, row.id).await?;
            workspaces.push(row.with(agents));
        }
        Ok(workspaces)
    }
}

impl Agents<'_> {
    /// The lifecycle states that an agent reported, oldest first.
    pub async fn lifecycle(&self, agent: Uuid) -> Result<Vec<(State, Timestamp)>, StoreError> {
        let states = query::<StateRow>("SELECT {columns} FROM lifecycle_states WHERE agent_id = ? ORDER BY id");
        let rows = self.0.all(states.bind(agent)).await.doing("read the lifecycle of an agent")?;
        Ok(rows.into_iter().map(|row| (state(row.state), row.changed_at)).collect())
    }

    /// The scripts of an agent, in the order of the definition.
    pub async fn scripts(&self, agent: Uuid) -> Result<Vec<Script>, StoreError> {
        let scripts = query::<ScriptRow>(
            "SELECT {columns} FROM scripts s LEFT JOIN script_timings t \
               ON t.id = (SELECT max(id) FROM script_timings WHERE script_id = s.id) \
             WHERE s.agent_id = ? ORDER BY s.position",
        );
        let rows = self.0.all(scripts.bind(agent)).await.doing("read the scripts of an agent")?;
        Ok(rows.into_iter().map(Script::from).collect())
    }

    /// The metadata of an agent, in the order of the definition.
    pub async fn metadata(&self, agent: Uuid) -> Result<Vec<Metadata>, StoreError> {
        let items = query::<Metadata>("SELECT {columns} FROM agent_metadata WHERE agent_id = ? ORDER BY position");
        self.0.all(items.bind(agent)).await.doing("read the metadata of an agent")
    }
}

async fn agents(sql: &mut Connection, workspace: Uuid) -> Result<Vec<Agent>, StoreError> {
    let agents = query::<AgentRow>(
        "SELECT {columns} FROM agents a LEFT JOIN agent_presence p ON p.agent_id = a.id \
         WHERE a.workspace_id = ? ORDER BY a.position",
    );
    let rows = sql.all(agents.bind(workspace)).await.doing("read the agents of a workspace")?;
    Ok(rows.into_iter().map(Agent::from).collect())
}

fn state(number: i32) -> State {
    State::try_from(number).unwrap_or_default()
}

impl WorkspaceRow {
    fn with(self, agents: Vec<Agent>) -> Workspace {
        let reason = self.revoked_reason;
        Workspace {
            id: self.id,
            owner_id: self.owner_id,
            owner_name: self.owner_name,
            name: self.name,
            created_at: self.created_at,
            updated_at: self.updated_at,
            revoked: self.revoked_at.map(|at| Revocation { at, reason }),
            build_id: self.build_id.unwrap_or(self.id),
            build_number: self.build_number,
            stopped_at: self.stopped_at,
            agents,
        }
    }
}

impl From<AgentRow> for Agent {
    fn from(row: AgentRow) -> Self {
        let seen = row.first_connected_at.zip(row.last_connected_at);
        Self {
            id: row.id,
            name: row.name,
            directory: row.directory,
            expanded_directory: row.expanded_directory,
            motd_path: row.motd_path,
            resource: row.resource,
            connection_timeout: row.connection_timeout,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
            api_version: row.api_version,
            subsystems: row.subsystems.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            lifecycle: state(row.lifecycle_state),
            started_at: row.started_at,
            ready_at: row.ready_at,
            presence: seen.map(|(first_connected_at, last_connected_at)| Seen {
                first_connected_at,
                last_connected_at,
                disconnected_at: row.disconnected_at,
            }),
            logs_bytes: row.logs_bytes,
            logs_overflowed: row.logs_overflowed,
        }
    }
}

impl From<ScriptRow> for Script {
    fn from(row: ScriptRow) -> Self {
        Self {
            last: row.timing(),
            id: row.id,
            log_source_id: row.log_source_id,
            display_name: shown_name(&row.display_name).to_owned(),
            script: row.script,
            sensitive: row.sensitive,
            cron: row.cron,
            log_path: row.log_path,
            timeout: row.timeout,
            run_on_start: row.run_on_start,
            run_on_stop: row.run_on_stop,
            start_blocks_login: row.start_blocks_login,
        }
    }
}

impl ScriptRow {
    fn timing(&self) -> Option<Timing> {
        Some(Timing {
            started_at: self.started_at?,
            ended_at: self.ended_at?,
            exit_code: self.exit_code?,
            stage: self.stage?,
            status: self.status?,
        })
    }
}
