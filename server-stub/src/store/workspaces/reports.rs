//! What agents tell of themselves: startup, lifecycle, script results, metadata.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::{Doing, Store, StoreError};
use super::{Timing, logs};

/// Lifecycle states that are kept of one agent: some ten boots.
const KEPT_STATES: i64 = 100;
/// Results that are kept of one script. A cron script would fill the disk otherwise.
const KEPT_TIMINGS: i64 = 20;

/// `UpdateStartup`.
#[derive(Clone, Debug)]
pub struct StartupReport {
    /// Semantic version with a leading `v`.
    pub version: String,
    /// The directory of scripts and sessions, expanded by the agent.
    pub expanded_directory: String,
    /// Names of what the agent runs inside of.
    pub subsystems: Vec<&'static str>,
}

/// `ScriptCompleted`.
#[derive(Clone, Copy, Debug)]
pub struct TimingReport {
    /// Which script.
    pub script: Uuid,
    /// How it went.
    pub timing: Timing,
}

/// One item of `BatchUpdateMetadata`.
#[derive(Clone, Debug)]
pub struct MetadataReport {
    /// Which item.
    pub key: String,
    /// Its new value.
    pub value: String,
    /// Why there is none.
    pub error: String,
}

/// A script result for a script that is not the agent's.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// No such script; it may be gone since the agent fetched its manifest.
    #[error("script {0} does not exist")]
    UnknownScript(Uuid),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The agent runs.
    pub async fn report_startup(&self, agent: Uuid, report: StartupReport) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                sqlx::query("UPDATE agents SET version = ?, expanded_directory = ?, subsystems = ? WHERE id = ?")
                    .bind(report.version)
                    .bind(report.expanded_directory)
                    .bind(report.subsystems.join(","))
                    .bind(agent)
                    .execute(writing.connection())
                    .await
                    .map(drop)
                    .doing("record the startup of an agent")
            })
        })
        .await
    }

    /// The workspace is in another state.
    pub async fn report_lifecycle(&self, agent: Uuid, state: State, changed_at: Timestamp) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let connection = writing.connection();
                if state == State::Starting {
                    logs::make_room(connection, agent).await?;
                }
                set_state(connection, agent, state, changed_at).await?;
                sqlx::query(
                    "INSERT INTO lifecycle_states (agent_id, state, changed_at) SELECT id, ?, ? FROM agents WHERE id = ?; \
                     DELETE FROM lifecycle_states WHERE agent_id = ? AND id <= \
                     (SELECT id FROM lifecycle_states WHERE agent_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                )
                .bind(i32::from(state))
                .bind(changed_at.as_microsecond())
                .bind(agent)
                .bind(agent)
                .bind(agent)
                .bind(KEPT_STATES)
                .execute(connection)
                .await
                .map(drop)
                .doing("record a lifecycle state")
            })
        })
        .await
    }

    /// A script has ended.
    pub async fn report_timing(&self, agent: Uuid, report: TimingReport) -> Result<(), ReportError> {
        self.write(move |writing| Box::pin(async move { keep_timing(writing.connection(), agent, report).await })).await
    }

    /// Metadata was collected. An item that the definition no longer has is passed over.
    pub async fn report_metadata(&self, agent: Uuid, reports: Vec<MetadataReport>) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                let now = writing.now().as_microsecond();
                for report in reports {
                    sqlx::query(
                        "UPDATE agent_metadata SET value = ?, error = ?, collected_at = ? WHERE agent_id = ? AND key = ?",
                    )
                    .bind(report.value)
                    .bind(report.error)
                    .bind(now)
                    .bind(agent)
                    .bind(report.key)
                    .execute(writing.connection())
                    .await
                    .doing("record metadata")?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn set_state(
    connection: &mut SqliteConnection,
    agent: Uuid,
    state: State,
    changed_at: Timestamp,
) -> Result<(), StoreError> {
    let at = changed_at.as_microsecond();
    let sql = match state {
        State::Starting => "UPDATE agents SET lifecycle_state = ?1, started_at = ?2, ready_at = NULL WHERE id = ?3",
        State::Ready | State::StartError | State::StartTimeout => {
            "UPDATE agents SET lifecycle_state = ?1, ready_at = ?2 WHERE id = ?3"
        }
        _ => "UPDATE agents SET lifecycle_state = ?1 WHERE id = ?3",
    };
    sqlx::query(sql)
        .bind(i32::from(state))
        .bind(at)
        .bind(agent)
        .execute(connection)
        .await
        .map(drop)
        .doing("record a lifecycle state")
}

async fn keep_timing(connection: &mut SqliteConnection, agent: Uuid, report: TimingReport) -> Result<(), ReportError> {
    let TimingReport { script, timing } = report;
    let kept = sqlx::query(
        "INSERT INTO script_timings (script_id, started_at, ended_at, exit_code, stage, status) \
         SELECT id, ?, ?, ?, ?, ? FROM scripts WHERE id = ? AND agent_id = ?",
    )
    .bind(timing.started_at.as_microsecond())
    .bind(timing.ended_at.as_microsecond())
    .bind(timing.exit_code)
    .bind(timing.stage)
    .bind(timing.status)
    .bind(script)
    .bind(agent)
    .execute(&mut *connection)
    .await
    .doing("record a script result")?;
    if kept.rows_affected() == 0 {
        return Err(ReportError::UnknownScript(script));
    }
    sqlx::query(
        "DELETE FROM script_timings WHERE script_id = ?1 AND id <= \
         (SELECT id FROM script_timings WHERE script_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(script)
    .bind(KEPT_TIMINGS)
    .execute(connection)
    .await
    .doing("drop old script results")?;
    Ok(())
}
