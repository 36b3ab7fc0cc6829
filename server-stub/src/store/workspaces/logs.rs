//! Log lines that agents send, and the sources they come from.

use jiff::Timestamp;
use protocol::rest::{PostLogSourceRequest, WorkspaceAgentLogSource};
use sqlx::{Row, SqliteConnection};
use uuid::{Uuid, uuid};

use super::super::{Doing, Store, StoreError, Writing, time};

/// Most bytes of log that are kept of one agent; a line counts its newline, so that empty ones are not free.
pub const MAX_LOG_BYTES: i64 = 1024 * 1024;
/// What is left of earlier boots when a new one starts, so that every boot has at least half of the room.
const KEPT_AT_START: i64 = MAX_LOG_BYTES / 2;
/// Most sources of one agent: its scripts and a few of its own.
const MAX_SOURCES: i64 = 256;
/// Most lines of one answer.
const MAX_LINES_READ: i64 = 10_000;

/// The source of lines that name none.
pub const EXTERNAL_SOURCE: Uuid = uuid!("3b579bf4-1ed8-4b99-87a8-e9a1e3410410");
/// The source of what the server itself has to tell in an agent's startup log.
const SERVER_SOURCE: Uuid = uuid!("6c1e4a52-6f0b-4f0e-9a55-8d1f0a7be0c3");

/// A line to keep.
#[derive(Clone, Debug)]
pub struct NewLine {
    /// When the agent read it.
    pub created_at: Timestamp,
    /// As on the wire.
    pub level: i32,
    /// One line, no newline.
    pub output: String,
}

/// A line that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Grows with every line.
    pub id: i64,
    /// Where it comes from.
    pub source_id: Uuid,
    /// When the agent read it.
    pub created_at: Timestamp,
    /// As on the wire.
    pub level: i32,
    /// One line, no newline.
    pub output: String,
}

/// Why log lines or a source are refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The source was never posted.
    #[error("log source {0} does not exist")]
    UnknownSource(Uuid),
    /// The agent has enough sources.
    #[error("an agent may have at most {MAX_SOURCES} log sources")]
    TooManySources,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps lines of one source; the nil source is [`EXTERNAL_SOURCE`]. True when the agent's room is used up, in which case none of
    /// them was kept.
    pub async fn append_logs(&self, agent: Uuid, source: Uuid, lines: Vec<NewLine>) -> Result<bool, LogError> {
        self.write(move |writing| {
            Box::pin(async move {
                let source = if source.is_nil() {
                    keep_source(writing, agent, EXTERNAL_SOURCE, "External", "").await?;
                    EXTERNAL_SOURCE
                } else {
                    source
                };
                if !has_source(writing.connection(), agent, source).await? {
                    return Err(LogError::UnknownSource(source));
                }
                Ok(append(writing.connection(), agent, source, lines).await?)
            })
        })
        .await
    }

    /// Tells the user something in the agent's startup log. A full log swallows it.
    pub async fn append_server_log(&self, agent: Uuid, lines: Vec<NewLine>) -> Result<(), StoreError> {
        self.write(move |writing| {
            Box::pin(async move {
                keep_source(writing, agent, SERVER_SOURCE, "Control plane", "").await?;
                append(writing.connection(), agent, SERVER_SOURCE, lines).await.map(drop)
            })
        })
        .await
    }

    /// Makes a source known; one that is known stays as it is.
    pub async fn post_log_source(
        &self,
        agent: Uuid,
        request: PostLogSourceRequest,
    ) -> Result<WorkspaceAgentLogSource, LogError> {
        self.write(move |writing| {
            Box::pin(async move {
                if !has_source(writing.connection(), agent, request.id).await? {
                    let count: i64 = sqlx::query("SELECT count(*) FROM log_sources WHERE agent_id = ?")
                        .bind(agent)
                        .fetch_one(writing.connection())
                        .await
                        .doing("count the log sources")?
                        .get(0);
                    if count >= MAX_SOURCES {
                        return Err(LogError::TooManySources);
                    }
                    keep_source(writing, agent, request.id, &request.display_name, &request.icon).await?;
                }
                Ok(read_sources(writing.connection(), agent, Some(request.id)).await?.remove(0))
            })
        })
        .await
    }

    /// The sources of an agent, oldest first.
    pub async fn log_sources(&self, agent: Uuid) -> Result<Vec<WorkspaceAgentLogSource>, StoreError> {
        let mut connection = self.reader().acquire().await.doing("read the log sources")?;
        read_sources(&mut connection, agent, None).await
    }

    /// Lines with an id above `after`, in order; at most some thousands, ask again for more.
    pub async fn logs(&self, agent: Uuid, after: i64) -> Result<Vec<Line>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, source_id, created_at, level, output FROM agent_logs WHERE agent_id = ? AND id > ? \
             ORDER BY id LIMIT ?",
        )
        .bind(agent)
        .bind(after)
        .bind(MAX_LINES_READ)
        .fetch_all(self.reader())
        .await
        .doing("read the log")?;
        rows.iter()
            .map(|row| {
                Ok(Line {
                    id: row.get(0),
                    source_id: row.get(1),
                    created_at: time(row.get(2)),
                    level: row.get(3),
                    output: row.get(4),
                })
            })
            .collect()
    }
}

async fn has_source(connection: &mut SqliteConnection, agent: Uuid, source: Uuid) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT 1 FROM log_sources WHERE agent_id = ? AND id = ?")
        .bind(agent)
        .bind(source)
        .fetch_optional(connection)
        .await
        .doing("look up a log source")?;
    Ok(found.is_some())
}

/// Makes a source known or gives it its current name. An agent that was deleted meanwhile gets none.
pub(super) async fn keep_source(
    writing: &mut Writing,
    agent: Uuid,
    source: Uuid,
    display_name: &str,
    icon: &str,
) -> Result<(), StoreError> {
    let now = writing.now().as_microsecond();
    sqlx::query(
        "INSERT INTO log_sources SELECT id, ?, ?, ?, ? FROM agents WHERE id = ? \
         ON CONFLICT (agent_id, id) DO UPDATE SET display_name = excluded.display_name, icon = excluded.icon",
    )
    .bind(source)
    .bind(display_name)
    .bind(icon)
    .bind(now)
    .bind(agent)
    .execute(writing.connection())
    .await
    .map(drop)
    .doing("keep a log source")
}

async fn read_sources(
    connection: &mut SqliteConnection,
    agent: Uuid,
    only: Option<Uuid>,
) -> Result<Vec<WorkspaceAgentLogSource>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, created_at, display_name, icon FROM log_sources \
         WHERE agent_id = ?1 AND (?2 IS NULL OR id = ?2) ORDER BY created_at, display_name",
    )
    .bind(agent)
    .bind(only)
    .fetch_all(connection)
    .await
    .doing("read the log sources")?;
    rows.iter()
        .map(|row| {
            Ok(WorkspaceAgentLogSource {
                workspace_agent_id: agent,
                id: row.get(0),
                created_at: time(row.get(1)),
                display_name: row.get(2),
                icon: row.get(3),
            })
        })
        .collect()
}

async fn append(
    connection: &mut SqliteConnection,
    agent: Uuid,
    source: Uuid,
    lines: Vec<NewLine>,
) -> Result<bool, StoreError> {
    let agent_id = agent;
    let new = lines.iter().map(|line| i64::try_from(line.output.len()).unwrap_or(i64::MAX / 2) + 1);
    let new = new.fold(0, i64::saturating_add);
    let fits = sqlx::query(
        "UPDATE agents SET logs_overflowed = logs_overflowed OR logs_bytes + ?1 > ?2, \
                           logs_bytes = iif(logs_overflowed OR logs_bytes + ?1 > ?2, logs_bytes, logs_bytes + ?1) \
         WHERE id = ?3 RETURNING logs_overflowed",
    )
    .bind(new)
    .bind(MAX_LOG_BYTES)
    .bind(agent_id)
    .fetch_optional(&mut *connection)
    .await
    .doing("count the log")?;
    // No row: the agent was deleted, so nobody wants its lines.
    if fits.is_none_or(|row| row.get(0)) {
        return Ok(true);
    }
    for line in lines {
        sqlx::query("INSERT INTO agent_logs (agent_id, source_id, created_at, level, output) VALUES (?, ?, ?, ?, ?)")
            .bind(agent_id)
            .bind(source)
            .bind(line.created_at.as_microsecond())
            .bind(line.level)
            .bind(line.output.replace('\0', "\u{fffd}"))
            .execute(&mut *connection)
            .await
            .doing("keep a log line")?;
    }
    Ok(false)
}

/// A workspace starts again: the newest half of the log stays, and what had no room has room again.
pub(super) async fn make_room(connection: &mut SqliteConnection, agent: Uuid) -> Result<(), StoreError> {
    let agent_id = agent;
    let action = "trim the log";
    sqlx::query(
        "DELETE FROM agent_logs WHERE agent_id = ?1 AND id <= coalesce((SELECT max(id) FROM \
           (SELECT id, sum(octet_length(output) + 1) OVER (ORDER BY id DESC) AS newer FROM agent_logs WHERE agent_id = ?1) \
         WHERE newer > ?2), 0)",
    )
    .bind(agent_id)
    .bind(KEPT_AT_START)
    .execute(&mut *connection)
    .await
    .doing(action)?;
    sqlx::query(
        "UPDATE agents SET logs_overflowed = 0, logs_bytes = \
           (SELECT coalesce(sum(octet_length(output) + 1), 0) FROM agent_logs WHERE agent_id = ?1) WHERE id = ?1",
    )
    .bind(agent_id)
    .execute(connection)
    .await
    .map(drop)
    .doing(action)
}
