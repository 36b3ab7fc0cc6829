//! Workspaces and agents as people look at them.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::super::{Doing, Store, StoreError, now, time};
use super::presence::Presence;

/// An agent that was not seen for this long is shown as disconnected: two beats of the connection monitor.
const INACTIVE_MICROSECONDS: i64 = 30_000_000;

/// A workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Stable identifier.
    pub id: Uuid,
    /// Its owner.
    pub owner_id: Uuid,
    /// The owner's name.
    pub owner_name: String,
    /// Its name.
    pub name: String,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When it was last applied.
    pub updated_at: Timestamp,
    /// Its agents, in the order of the definition.
    pub agents: Vec<Agent>,
}

/// An agent, as far as its definition and its reports go.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Stable identifier.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Where scripts and sessions start, unexpanded.
    pub directory: String,
    /// The same, as the agent expanded it.
    pub expanded_directory: String,
    /// Path of what is shown at login.
    pub motd_path: String,
    /// Seconds it may take to connect for the first time.
    pub connection_timeout: i64,
    /// When it was first applied.
    pub created_at: Timestamp,
    /// When it was last applied.
    pub updated_at: Timestamp,
    /// Its version, empty until it told.
    pub version: String,
    /// The version of the Agent API that it dialled.
    pub api_version: String,
    /// What it runs inside of.
    pub subsystems: Vec<String>,
    /// What it last reported.
    pub lifecycle: State,
    /// When the workspace last started.
    pub started_at: Option<Timestamp>,
    /// When that start was over, well or not.
    pub ready_at: Option<Timestamp>,
    /// What the connection monitor saw.
    pub presence: Option<Presence>,
    /// Bytes of log that are kept.
    pub logs_bytes: i64,
    /// Whether log lines were refused.
    pub logs_overflowed: bool,
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It has never been, and still has time.
    Connecting,
    /// It has never been, and should have.
    Timeout,
    /// It is.
    Connected,
    /// It was.
    Disconnected,
}

impl Connection {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Timeout => "timeout",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
        }
    }
}

impl Agent {
    /// Whether it is there at the moment.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection_at(now())
    }

    fn connection_at(&self, now: Timestamp) -> Connection {
        let since = |then: Timestamp| now.as_microsecond().saturating_sub(then.as_microsecond());
        let Some(presence) = &self.presence else {
            // Zero means that there is no such limit.
            let limit = self.connection_timeout.saturating_mul(1_000_000);
            let late = limit > 0 && since(self.created_at) > limit;
            return if late { Connection::Timeout } else { Connection::Connecting };
        };
        let left = presence.disconnected_at.is_some_and(|at| at >= presence.last_connected_at);
        if left || since(presence.last_connected_at) > INACTIVE_MICROSECONDS {
            Connection::Disconnected
        } else {
            Connection::Connected
        }
    }
}

/// A script and how it went.
#[derive(Clone, Debug)]
pub struct Script {
    /// Stable identifier.
    pub id: Uuid,
    /// Where its lines are kept.
    pub log_source_id: Uuid,
    /// Its name.
    pub display_name: String,
    /// See `coder_script`.
    pub script: String,
    /// Six fields, or empty.
    pub cron: String,
    /// Path of its log in the workspace, or empty.
    pub log_path: String,
    /// Seconds; zero for no limit.
    pub timeout: i64,
    /// Runs when the workspace starts.
    pub run_on_start: bool,
    /// Runs when the workspace stops.
    pub run_on_stop: bool,
    /// Clients should wait for it.
    pub start_blocks_login: bool,
    /// How it last went.
    pub last: Option<Timing>,
}

/// One run of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it ended with.
    pub exit_code: i32,
    /// As on the wire.
    pub stage: i32,
    /// As on the wire.
    pub status: i32,
}

/// A metadata item and its last value.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Unique for the agent.
    pub key: String,
    /// What people see.
    pub display_name: String,
    /// What is run to get the value.
    pub script: String,
    /// Seconds; zero for once.
    pub interval: i64,
    /// Seconds; zero for the interval.
    pub timeout: i64,
    /// The value, empty until there is one.
    pub value: String,
    /// Why there is none.
    pub error: String,
    /// When it was collected.
    pub collected_at: Option<Timestamp>,
}

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

pub(super) async fn scripts(connection: &mut SqliteConnection, agent: Uuid) -> Result<Vec<Script>, StoreError> {
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

pub(super) async fn metadata(connection: &mut SqliteConnection, agent: Uuid) -> Result<Vec<Metadata>, StoreError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(presence: Option<(i64, Option<i64>)>, connection_timeout: i64) -> Agent {
        Agent {
            id: Uuid::nil(),
            name: String::new(),
            directory: String::new(),
            expanded_directory: String::new(),
            motd_path: String::new(),
            connection_timeout,
            created_at: time(0),
            updated_at: time(0),
            version: String::new(),
            api_version: String::new(),
            subsystems: Vec::new(),
            lifecycle: State::Created,
            started_at: None,
            ready_at: None,
            presence: presence.map(|(last, left)| Presence {
                first_connected_at: time(0),
                last_connected_at: time(last * 1_000_000),
                disconnected_at: left.map(|at| time(at * 1_000_000)),
            }),
            logs_bytes: 0,
            logs_overflowed: false,
        }
    }

    #[test]
    fn the_status_follows_the_connection_monitor() {
        let cases = [
            (None, 120, 100, Connection::Connecting),
            (None, 120, 121, Connection::Timeout),
            (None, 0, 1000, Connection::Connecting),
            (Some((100, None)), 120, 130, Connection::Connected),
            (Some((100, None)), 120, 131, Connection::Disconnected),
            (Some((100, Some(100))), 120, 101, Connection::Disconnected),
            (Some((100, Some(99))), 120, 101, Connection::Connected),
        ];
        for (presence, timeout, now, expected) in cases {
            let shown = agent(presence, timeout).connection_at(time(now * 1_000_000));
            assert_eq!(shown, expected, "{presence:?} at {now}");
        }
    }
}
