//! Log lines that agents send, and the sources they come from.

use jiff::Timestamp;
use protocol::rest::{PostLogSourceRequest, WorkspaceAgentLogSource};
use uuid::{Uuid, uuid};

use super::super::engine::{Connection, Database, Writing, command, insert, query, row};
use super::super::{Doing, StoreError, storable};

/// Most bytes of log that are kept of one agent. A line counts its newline, and at least 16: it is a row, also when it is empty.
pub const MAX_LOG_BYTES: i64 = 1024 * 1024;
/// The same number is in the statements of [`make_room`].
const MIN_LINE_BYTES: usize = 16;
/// Lines of one transaction: an agent may send fifty thousand at a time, and others write as well.
const LINES_AT_ONCE: usize = 128;
/// What is left of earlier boots when a new one starts, so that every boot has at least half of the room.
const KEPT_AT_START: i64 = MAX_LOG_BYTES / 2;
/// Most sources of one agent: its scripts and a few of its own.
const MAX_SOURCES: i64 = 256;
/// Most lines of one answer.
const MAX_LINES_READ: i64 = 10_000;

/// The source of lines that name none.
pub const EXTERNAL_SOURCE: Uuid = uuid!("3b579bf4-1ed8-4b99-87a8-e9a1e3410410");
/// The source of what the server itself has to tell in an agent's startup log.
pub const SERVER_SOURCE: Uuid = uuid!("6c1e4a52-6f0b-4f0e-9a55-8d1f0a7be0c3");

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

row! {
    struct LineRow { id: i64, source_id: Uuid, created_at: Timestamp, level: i32, output: String }
}

row! {
    struct SourceRow { id: Uuid, created_at: Timestamp, display_name: String, icon: String }
}

row! {
    struct CountRow { count: i64 = "count(*)" }
}

row! {
    struct RoomRow { logs_overflowed: bool }
}

/// Log lines of agents.
#[derive(Clone, Copy)]
pub struct Logs<'a>(pub(in crate::store) &'a Database);

impl Logs<'_> {
    /// Keeps lines of one source; the nil source is [`EXTERNAL_SOURCE`]. True when the agent's room is used up, in which case none of
    /// them was kept.
    pub async fn append(&self, agent: Uuid, source: Uuid, lines: Vec<NewLine>) -> Result<bool, LogError> {
        let bytes = size(&lines);
        let source = self
            .0
            .write(move |writing| {
                Box::pin(async move {
                    let source = if source.is_nil() {
                        keep_source(writing, agent, EXTERNAL_SOURCE, "External", "").await?;
                        EXTERNAL_SOURCE
                    } else {
                        source
                    };
                    if find_source(&mut writing.sql, agent, source).await?.is_none() {
                        return Err(LogError::UnknownSource(source));
                    }
                    Ok(take_room(&mut writing.sql, agent, bytes).await?.then_some(source))
                })
            })
            .await?;
        let Some(source) = source else { return Ok(true) };
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            let some: Vec<_> = lines.by_ref().take(LINES_AT_ONCE).collect();
            let kept = self
                .0
                .write(move |writing| Box::pin(async move { keep_lines(&mut writing.sql, agent, source, some).await }));
            kept.await?;
        }
        Ok(false)
    }

    /// Tells the user something in the agent's startup log. A full log swallows it.
    pub async fn append_from_server(&self, agent: Uuid, lines: Vec<NewLine>) -> Result<(), StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    keep_source(writing, agent, SERVER_SOURCE, "Control plane", "").await?;
                    if take_room(&mut writing.sql, agent, size(&lines)).await? {
                        keep_lines(&mut writing.sql, agent, SERVER_SOURCE, lines).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Makes a source known; one that is known stays as it is.
    pub async fn post_source(
        &self,
        agent: Uuid,
        request: PostLogSourceRequest,
    ) -> Result<WorkspaceAgentLogSource, LogError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    if let Some(known) = find_source(&mut writing.sql, agent, request.id).await? {
                        return Ok(known.of(agent));
                    }
                    let count = query::<CountRow>("SELECT {columns} FROM log_sources WHERE agent_id = ?").bind(agent);
                    if writing.sql.one(count).await.doing("count the log sources")?.count >= MAX_SOURCES {
                        return Err(LogError::TooManySources);
                    }
                    keep_source(writing, agent, request.id, &request.display_name, &request.icon).await?;
                    let kept = find_source(&mut writing.sql, agent, request.id).await?;
                    Ok(kept.ok_or(LogError::UnknownSource(request.id))?.of(agent))
                })
            })
            .await
    }

    /// The sources of an agent, oldest first.
    pub async fn sources(&self, agent: Uuid) -> Result<Vec<WorkspaceAgentLogSource>, StoreError> {
        let sources = query::<SourceRow>(
            "SELECT {columns} FROM log_sources WHERE agent_id = ? ORDER BY created_at, display_name",
        );
        let rows = self.0.all(sources.bind(agent)).await.doing("read the log sources")?;
        Ok(rows.into_iter().map(|row| row.of(agent)).collect())
    }

    /// Lines with an id above `after`, in order; at most some thousands, ask again for more.
    pub async fn lines(&self, agent: Uuid, after: i64) -> Result<Vec<Line>, StoreError> {
        let lines =
            query::<LineRow>("SELECT {columns} FROM agent_logs WHERE agent_id = ? AND id > ? ORDER BY id LIMIT ?")
                .bind(agent)
                .bind(after)
                .bind(MAX_LINES_READ);
        let rows = self.0.all(lines).await.doing("read the log")?;
        let line =
            |LineRow { id, source_id, created_at, level, output }| Line { id, source_id, created_at, level, output };
        Ok(rows.into_iter().map(line).collect())
    }
}

impl SourceRow {
    fn of(self, agent: Uuid) -> WorkspaceAgentLogSource {
        WorkspaceAgentLogSource {
            workspace_agent_id: agent,
            id: self.id,
            created_at: self.created_at,
            display_name: self.display_name,
            icon: self.icon,
        }
    }
}

async fn find_source(sql: &mut Connection, agent: Uuid, source: Uuid) -> Result<Option<SourceRow>, StoreError> {
    let find = query::<SourceRow>("SELECT {columns} FROM log_sources WHERE agent_id = ? AND id = ?");
    sql.optional(find.bind(agent).bind(source)).await.doing("look up a log source")
}

/// Makes a source known or gives it its current name. An agent that was deleted meanwhile gets none.
pub(super) async fn keep_source(
    writing: &mut Writing,
    agent: Uuid,
    source: Uuid,
    display_name: &str,
    icon: &str,
) -> Result<(), StoreError> {
    let keep = command(
        "INSERT INTO log_sources (agent_id, id, display_name, icon, created_at) \
         SELECT id, ?, ?, ?, ? FROM agents WHERE id = ? \
         ON CONFLICT (agent_id, id) DO UPDATE SET display_name = excluded.display_name, icon = excluded.icon",
    )
    .bind(source)
    .bind(storable(display_name.to_owned()))
    .bind(storable(icon.to_owned()))
    .bind(writing.now())
    .bind(agent);
    writing.sql.execute(keep).await.map(drop).doing("keep a log source")
}

/// What lines take of an agent's room.
fn size(lines: &[NewLine]) -> i64 {
    let sizes = lines.iter().map(|line| i64::try_from((line.output.len() + 1).max(MIN_LINE_BYTES)).unwrap_or(i64::MAX));
    sizes.fold(0, i64::saturating_add)
}

/// Takes some of an agent's room; false if there is not enough.
async fn take_room(sql: &mut Connection, agent: Uuid, new: i64) -> Result<bool, StoreError> {
    // The sum of this and what there is must not overflow in the statement.
    let new = new.min(i64::MAX / 2);
    let count = query::<RoomRow>(
        "UPDATE agents SET logs_overflowed = (logs_overflowed OR logs_bytes + ?1 > ?2), \
           logs_bytes = CASE WHEN logs_overflowed OR logs_bytes + ?1 > ?2 THEN logs_bytes ELSE logs_bytes + ?1 END \
         WHERE id = ?3 RETURNING {columns}",
    );
    let room = sql.optional(count.bind(new).bind(MAX_LOG_BYTES).bind(agent)).await.doing("count the log")?;
    // No row: the agent was deleted, so nobody wants its lines.
    Ok(room.is_some_and(|row| !row.logs_overflowed))
}

async fn keep_lines(sql: &mut Connection, agent: Uuid, source: Uuid, lines: Vec<NewLine>) -> Result<(), StoreError> {
    for line in lines {
        let insert = insert!("agent_logs" {
            agent_id: agent,
            source_id: source,
            created_at: line.created_at,
            level: line.level,
            output: storable(line.output),
        });
        sql.execute(insert).await.doing("keep a log line")?;
    }
    Ok(())
}

/// A workspace starts again: the newest half of the log stays, and what had no room has room again.
pub(super) async fn make_room(sql: &mut Connection, agent: Uuid) -> Result<(), StoreError> {
    let action = "trim the log";
    let trim = command(
        "DELETE FROM agent_logs WHERE agent_id = ?1 AND id <= coalesce((SELECT max(id) FROM \
           (SELECT id, sum(CASE WHEN octet_length(output) < 15 THEN 16 ELSE octet_length(output) + 1 END) OVER (ORDER BY id DESC) AS newer \
            FROM agent_logs WHERE agent_id = ?1) AS sizes \
         WHERE newer > ?2), 0)",
    );
    sql.execute(trim.bind(agent).bind(KEPT_AT_START)).await.doing(action)?;
    let count = command(
        "UPDATE agents SET logs_overflowed = FALSE, logs_bytes = \
           (SELECT coalesce(sum(CASE WHEN octet_length(output) < 15 THEN 16 ELSE octet_length(output) + 1 END), 0) \
            FROM agent_logs WHERE agent_id = ?1) WHERE id = ?1",
    );
    sql.execute(count.bind(agent)).await.map(drop).doing(action)
}
