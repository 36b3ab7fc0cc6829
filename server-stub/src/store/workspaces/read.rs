//! Reading workspaces and what their agents reported.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::super::{Doing, Store, StoreError, time};
use super::presence::Presence;
use super::view::{Agent, Metadata, Script, Timing, Workspace};

macro_rules! select_workspaces {
    ($rest:literal) => {
        concat!(
            "SELECT w.id, w.owner_id, u.username, w.name, w.created_at, w.updated_at \
             FROM workspaces w JOIN users u ON u.id = w.owner_id ",
            $rest
        )
    };
}

impl Store {
    /// The workspaces of one owner, or of all, by owner and name.
    pub async fn workspaces(&self, owner: Option<Uuid>) -> Result<Vec<Workspace>, StoreError> {
        let sql = select_workspaces!("WHERE ?1 IS NULL OR w.owner_id = ?1 ORDER BY u.username, w.name");
        self.select_workspaces(sqlx::query(sql).bind(owner)).await
    }

    /// The workspace of that id.
    pub async fn workspace(&self, id: Uuid) -> Result<Option<Workspace>, StoreError> {
        let found = self.select_workspaces(sqlx::query(select_workspaces!("WHERE w.id = ?")).bind(id)).await?;
        Ok(found.into_iter().next())
    }

    /// The workspace of that owner and name.
    pub async fn workspace_named(&self, owner: &str, name: &str) -> Result<Option<Workspace>, StoreError> {
        let query = sqlx::query(select_workspaces!("WHERE u.username = ? AND w.name = ?")).bind(owner).bind(name);
        Ok(self.select_workspaces(query).await?.into_iter().next())
    }

    /// The workspace that an agent belongs to.
    pub async fn workspace_of_agent(&self, agent: Uuid) -> Result<Option<Workspace>, StoreError> {
        let sql = select_workspaces!("WHERE w.id = (SELECT workspace_id FROM agents WHERE id = ?)");
        Ok(self.select_workspaces(sqlx::query(sql).bind(agent)).await?.into_iter().next())
    }

    /// One snapshot, so that a workspace is not shown with the agents of another moment.
    async fn select_workspaces(&self, query: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<Workspace>, StoreError> {
        let action = "read the workspaces";
        let mut reading = self.reader().begin().await.doing(action)?;
        let rows = query.fetch_all(&mut *reading).await.doing(action)?;
        let mut workspaces = Vec::with_capacity(rows.len());
        for row in &rows {
            let agents = agents(&mut reading, row.get(0)).await?;
            workspaces.push(Workspace {
                id: row.get(0),
                owner_id: row.get(1),
                owner_name: row.get(2),
                name: row.get(3),
                created_at: time(row.get(4)),
                updated_at: time(row.get(5)),
                agents,
            });
        }
        Ok(workspaces)
    }

    /// The lifecycle states that an agent reported, oldest first.
    pub async fn lifecycle(&self, agent: Uuid) -> Result<Vec<(State, Timestamp)>, StoreError> {
        let rows = sqlx::query("SELECT state, changed_at FROM lifecycle_states WHERE agent_id = ? ORDER BY id")
            .bind(agent)
            .fetch_all(self.reader())
            .await
            .doing("read the lifecycle of an agent")?;
        Ok(rows.iter().map(|row| (state(row.get(0)), time(row.get(1)))).collect())
    }

    /// The scripts of an agent, in the order of the definition.
    pub async fn scripts(&self, agent: Uuid) -> Result<Vec<Script>, StoreError> {
        let mut connection = self.reader().acquire().await.doing("read the scripts of an agent")?;
        scripts(&mut connection, agent).await
    }

    /// The metadata of an agent, in the order of the definition.
    pub async fn metadata(&self, agent: Uuid) -> Result<Vec<Metadata>, StoreError> {
        let mut connection = self.reader().acquire().await.doing("read the metadata of an agent")?;
        metadata(&mut connection, agent).await
    }
}

async fn agents(connection: &mut SqliteConnection, workspace: Uuid) -> Result<Vec<Agent>, StoreError> {
    let rows = sqlx::query(
        "SELECT a.id, a.name, a.directory, a.expanded_directory, a.motd_path, a.connection_timeout, a.created_at, \
                a.updated_at, a.version, a.api_version, a.subsystems, a.lifecycle_state, a.started_at, a.ready_at, \
                p.first_connected_at, p.last_connected_at, p.disconnected_at, a.logs_bytes, a.logs_overflowed \
         FROM agents a LEFT JOIN agent_presence p ON p.agent_id = a.id WHERE a.workspace_id = ? ORDER BY a.position",
    )
    .bind(workspace)
    .fetch_all(connection)
    .await
    .doing("read the agents of a workspace")?;
    Ok(rows.iter().map(agent).collect())
}

fn agent(row: &SqliteRow) -> Agent {
    let maybe = |index: usize| row.get::<Option<i64>, _>(index).map(time);
    let subsystems: &str = row.get(10);
    Agent {
        id: row.get(0),
        name: row.get(1),
        directory: row.get(2),
        expanded_directory: row.get(3),
        motd_path: row.get(4),
        connection_timeout: row.get(5),
        created_at: time(row.get(6)),
        updated_at: time(row.get(7)),
        version: row.get(8),
        api_version: row.get(9),
        subsystems: subsystems.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        lifecycle: state(row.get(11)),
        started_at: maybe(12),
        ready_at: maybe(13),
        presence: maybe(14).zip(maybe(15)).map(|(first_connected_at, last_connected_at)| Presence {
            first_connected_at,
            last_connected_at,
            disconnected_at: maybe(16),
        }),
        logs_bytes: row.get(17),
        logs_overflowed: row.get(18),
    }
}

fn state(number: i32) -> State {
    State::try_from(number).unwrap_or_default()
}

async fn scripts(connection: &mut SqliteConnection, agent: Uuid) -> Result<Vec<Script>, StoreError> {
    let rows = sqlx::query(
        "SELECT s.id, s.log_source_id, s.display_name, s.script, s.cron, s.log_path, s.timeout, s.run_on_start, \
                s.run_on_stop, s.start_blocks_login, t.started_at, t.ended_at, t.exit_code, t.stage, t.status \
         FROM scripts s LEFT JOIN script_timings t \
           ON t.id = (SELECT max(id) FROM script_timings WHERE script_id = s.id) \
         WHERE s.agent_id = ? ORDER BY s.position",
    )
    .bind(agent)
    .fetch_all(connection)
    .await
    .doing("read the scripts of an agent")?;
    let timing = |row: &SqliteRow| {
        Some(Timing {
            started_at: time(row.get::<Option<i64>, _>(10)?),
            ended_at: time(row.get(11)),
            exit_code: row.get(12),
            stage: row.get(13),
            status: row.get(14),
        })
    };
    let script = |row: &SqliteRow| Script {
        id: row.get(0),
        log_source_id: row.get(1),
        display_name: row.get(2),
        script: row.get(3),
        cron: row.get(4),
        log_path: row.get(5),
        timeout: row.get(6),
        run_on_start: row.get(7),
        run_on_stop: row.get(8),
        start_blocks_login: row.get(9),
        last: timing(row),
    };
    Ok(rows.iter().map(script).collect())
}

async fn metadata(connection: &mut SqliteConnection, agent: Uuid) -> Result<Vec<Metadata>, StoreError> {
    let rows = sqlx::query(
        "SELECT key, display_name, script, interval, timeout, value, error, collected_at FROM agent_metadata \
         WHERE agent_id = ? ORDER BY position",
    )
    .bind(agent)
    .fetch_all(connection)
    .await
    .doing("read the metadata of an agent")?;
    let item = |row: &SqliteRow| Metadata {
        key: row.get(0),
        display_name: row.get(1),
        script: row.get(2),
        interval: row.get(3),
        timeout: row.get(4),
        value: row.get(5),
        error: row.get(6),
        collected_at: row.get::<Option<i64>, _>(7).map(time),
    };
    Ok(rows.iter().map(item).collect())
}
