//! What agents tell of themselves: startup, lifecycle, script results, metadata.

use std::collections::HashSet;

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use uuid::Uuid;

use super::super::engine::{Connection, Database, command, query, row};
use super::super::{Doing, StoreError, storable};
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

row! {
    struct KeyRow { key: String }
}

/// What agents report of themselves.
#[derive(Clone, Copy)]
pub struct Reports<'a>(pub(in crate::store) &'a Database);

impl Reports<'_> {
    /// The agent runs.
    pub async fn startup(&self, agent: Uuid, report: StartupReport) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let told =
                        command("UPDATE agents SET version = ?, expanded_directory = ?, subsystems = ? WHERE id = ?")
                            .bind(report.version)
                            .bind(storable(report.expanded_directory))
                            .bind(report.subsystems.join(","))
                            .bind(agent);
                    writing.sql.execute(told).await.map(drop).doing("record the startup of an agent")
                })
            })
            .await
    }

    /// The workspace is in another state.
    pub async fn lifecycle(&self, agent: Uuid, state: State, changed_at: Timestamp) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    if state == State::Starting {
                        logs::make_room(&mut writing.sql, agent).await?;
                    }
                    keep_state(&mut writing.sql, agent, state, changed_at).await
                })
            })
            .await
    }

    /// A script has ended.
    pub async fn timing(&self, agent: Uuid, report: TimingReport) -> Result<(), ReportError> {
        self.0.write(move |writing| Box::pin(keep_timing(&mut writing.sql, agent, report))).await
    }

    /// Metadata was collected. An item that the definition no longer has is passed over.
    pub async fn metadata(&self, agent: Uuid, reports: Vec<MetadataReport>) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let keys = query::<KeyRow>("SELECT {columns} FROM agent_metadata WHERE agent_id = ?").bind(agent);
                    let keys = writing.sql.all(keys).await.doing("read the keys of metadata")?;
                    let keys: HashSet<_> = keys.into_iter().map(|row| row.key).collect();
                    let now = writing.now();
                    // At most as many as the definition has, in one trip.
                    let known = reports.into_iter().filter(|report| keys.contains(&report.key));
                    let told = known.map(|report| {
                        command(
                            "UPDATE agent_metadata SET value = ?, error = ?, collected_at = ? \
                             WHERE agent_id = ? AND key = ?",
                        )
                        .bind(storable(report.value))
                        .bind(storable(report.error))
                        .bind(now)
                        .bind(agent)
                        .bind(report.key)
                    });
                    let told: Vec<_> = told.collect();
                    if told.is_empty() { Ok(()) } else { writing.sql.batch(told).await.doing("record metadata") }
                })
            })
            .await
    }
}

async fn keep_state(sql: &mut Connection, agent: Uuid, state: State, changed_at: Timestamp) -> Result<(), StoreError> {
    let action = "record a lifecycle state";
    let number = i32::from(state);
    let current = match state {
        State::Starting => {
            command("UPDATE agents SET lifecycle_state = ?, started_at = ?, ready_at = NULL WHERE id = ?")
                .bind(number)
                .bind(changed_at)
        }
        State::Ready | State::StartError | State::StartTimeout => {
            command("UPDATE agents SET lifecycle_state = ?, ready_at = ? WHERE id = ?").bind(number).bind(changed_at)
        }
        _ => command("UPDATE agents SET lifecycle_state = ? WHERE id = ?").bind(number),
    };
    let keep =
        command("INSERT INTO lifecycle_states (agent_id, state, changed_at) SELECT id, ?, ? FROM agents WHERE id = ?");
    let trim = command(
        "DELETE FROM lifecycle_states WHERE agent_id = ? AND id <= \
         (SELECT id FROM lifecycle_states WHERE agent_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
    );
    sql.batch(vec![
        current.bind(agent),
        keep.bind(number).bind(changed_at).bind(agent),
        trim.bind(agent).bind(agent).bind(KEPT_STATES),
    ])
    .await
    .doing(action)
}

async fn keep_timing(sql: &mut Connection, agent: Uuid, report: TimingReport) -> Result<(), ReportError> {
    let TimingReport { script, timing } = report;
    let keep = command(
        "INSERT INTO script_timings (script_id, started_at, ended_at, exit_code, stage, status) \
         SELECT id, ?, ?, ?, ?, ? FROM scripts WHERE id = ? AND agent_id = ?",
    )
    .bind(timing.started_at)
    .bind(timing.ended_at)
    .bind(timing.exit_code)
    .bind(timing.stage)
    .bind(timing.status)
    .bind(script)
    .bind(agent);
    if sql.execute(keep).await.doing("record a script result")? == 0 {
        return Err(ReportError::UnknownScript(script));
    }
    let trim = command(
        "DELETE FROM script_timings WHERE script_id = ?1 AND id <= \
         (SELECT id FROM script_timings WHERE script_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    );
    sql.execute(trim.bind(script).bind(KEPT_TIMINGS)).await.doing("drop old script results")?;
    Ok(())
}
