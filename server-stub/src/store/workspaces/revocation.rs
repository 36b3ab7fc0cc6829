//! Workspaces that get nothing any more, and what their agents told of their last delivery.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::engine::{Doing, StoreError, Writing, command, query, row};
use super::super::{Generation, generations};
use super::{Agents, Reports, Workspaces};

/// Longest reason that is kept.
const MAX_REASON_CHARS: usize = 500;

/// How an agent's last delivery went, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedDelivery {
    /// Which state was delivered.
    pub generation: Generation,
    /// It took everything away that could be taken.
    pub revoked: bool,
    /// What became of each target.
    pub targets: Vec<ReportedTarget>,
    /// When the server heard of it; of a report that is about to be stored, now.
    pub at: Timestamp,
}

/// What became of one target. Never a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedTarget {
    /// `env`, `file` or `stale`.
    pub kind: String,
    /// Its name or path.
    pub name: String,
    /// Whether the secret is there.
    pub delivered: bool,
    /// What happened, in words.
    pub outcome: String,
}

row! {
    struct DeliveryRow { epoch: i64, number: i64, reported_at: Timestamp, revoked: bool, targets: String }
}

impl Workspaces<'_> {
    /// From the commit on, nothing is delivered to the workspace. False if that was so before.
    pub async fn revoke(&self, id: Uuid, path: String, reason: &str) -> Result<bool, StoreError> {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        self.0.write(move |writing| Box::pin(revoke(writing, id, path, reason))).await
    }

    /// The workspace gets everything again. False if it did before.
    pub async fn restore(&self, id: Uuid, path: String) -> Result<bool, StoreError> {
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let restore = command(
                        "UPDATE workspaces SET revoked_at = NULL, revoked_reason = '' WHERE id = ? AND revoked_at IS NOT NULL",
                    );
                    if writing.sql.execute(restore.bind(id)).await.doing("restore a workspace")? == 0 {
                        return Ok(false);
                    }
                    generations::grow_workspace(writing, id).await?;
                    let record = Record::new(Actor::Administrator, "restore", "workspace").on(id, &path);
                    audit::insert(writing, record).await?;
                    Ok(true)
                })
            })
            .await
    }
}

async fn revoke(writing: &mut Writing, id: Uuid, path: String, reason: String) -> Result<bool, StoreError> {
    let revoke =
        command("UPDATE workspaces SET revoked_at = ?, revoked_reason = ? WHERE id = ? AND revoked_at IS NULL")
            .bind(writing.now())
            .bind(&reason)
            .bind(id);
    if writing.sql.execute(revoke).await.doing("revoke a workspace")? == 0 {
        return Ok(false);
    }
    generations::grow_workspace(writing, id).await?;
    let diff = serde_json::json!({ "reason": reason });
    let record = Record::new(Actor::Administrator, "revoke", "workspace").on(id, &path).diff(diff);
    audit::insert(writing, record).await?;
    Ok(true)
}

impl Reports<'_> {
    /// How the last delivery went; told again, it changes nothing. The first one after a revocation is an audit record of `actor`, on the
    /// workspace `path` of the id `workspace`.
    pub async fn delivery(
        &self,
        actor: Actor,
        (workspace, path): (Uuid, String),
        report: ReportedDelivery,
    ) -> Result<(), StoreError> {
        let Some(agent) = actor.id() else { return Ok(()) };
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let before = query::<DeliveryRow>("SELECT {columns} FROM agent_deliveries WHERE agent_id = ?");
                    let before =
                        writing.sql.optional(before.bind(agent)).await.doing("read the report of a delivery")?;
                    let is_confirmed = before.is_some_and(|row| row.revoked);
                    keep(writing, agent, &report).await?;
                    if report.revoked && !is_confirmed {
                        let record = Record::new(actor, "confirm_revocation", "workspace").on(workspace, &path);
                        audit::insert(writing, record.diff(left(&report))).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// What was taken away, and what was not.
fn left(report: &ReportedDelivery) -> serde_json::Value {
    let of = |removed: bool| {
        let files = report.targets.iter().filter(move |it| it.kind == "stale" && (it.outcome == "removed") == removed);
        files
            .map(|it| if removed { it.name.clone() } else { format!("{}: {}", it.name, it.outcome) })
            .collect::<Vec<_>>()
    };
    serde_json::json!({ "removed": of(true), "left": of(false) })
}

async fn keep(writing: &mut Writing, agent: Uuid, report: &ReportedDelivery) -> Result<(), StoreError> {
    let targets = serde_json::to_string(&report.targets).unwrap_or_default();
    // An agent that was deleted a moment ago has no row to refer to; the monitor ends its session.
    let keep = command(
        "INSERT INTO agent_deliveries (agent_id, epoch, number, reported_at, revoked, targets) \
         SELECT id, ?, ?, ?, ?, ? FROM agents WHERE id = ? ON CONFLICT (agent_id) DO UPDATE \
         SET epoch = excluded.epoch, number = excluded.number, reported_at = excluded.reported_at, \
             revoked = excluded.revoked, targets = excluded.targets",
    )
    .bind(report.generation.epoch)
    .bind(report.generation.number)
    .bind(report.at)
    .bind(report.revoked)
    .bind(targets)
    .bind(agent);
    writing.sql.execute(keep).await.map(drop).doing("store the report of a delivery")
}

impl Agents<'_> {
    /// What the agent told of its last delivery; none if it never did, as Coder's own.
    pub async fn reported_delivery(&self, agent: Uuid) -> Result<Option<ReportedDelivery>, StoreError> {
        let told = query::<DeliveryRow>("SELECT {columns} FROM agent_deliveries WHERE agent_id = ?").bind(agent);
        let row = self.0.optional(told).await.doing("read the report of a delivery")?;
        Ok(row.map(|row| ReportedDelivery {
            generation: Generation { epoch: row.epoch, number: row.number },
            revoked: row.revoked,
            targets: serde_json::from_str(&row.targets).unwrap_or_default(),
            at: row.reported_at,
        }))
    }
}
