//! What `workspace show` says of deliveries: what agents reported, and whether they have confirmed a revocation.

use serde_json::{Value, json};

use super::super::{AdminError, output};
use crate::store::Store;
use crate::store::workspaces::{Agent, Connection, ReportedDelivery, ReportedTarget, Workspace};

/// What an agent told of its last delivery, and what the server has for it now.
pub(super) struct Reported {
    report: Option<ReportedDelivery>,
    is_current: bool,
    /// The agent has fetched secrets, whether or not it tells what became of them.
    has_fetched: bool,
}

impl Reported {
    pub(super) async fn read(store: &Store, agent: &Agent) -> Result<Self, AdminError> {
        let report = store.agents().reported_delivery(agent.id).await?;
        let current = store.agents().current(&[agent.id]).await?.remove(&agent.id);
        let is_current = report.as_ref().zip(current).is_some_and(|(report, now)| report.generation == now.generation);
        let has_fetched = store.agents().last_delivery(agent.id).await?.is_some();
        Ok(Self { report, is_current, has_fetched })
    }

    /// Whether the agent has everything that the server has for it, as far as it told.
    pub(super) fn json(&self) -> Value {
        let Some(report) = &self.report else { return Value::Null };
        json!({
            "generation": { "epoch": report.generation.epoch, "number": report.generation.number },
            "current": self.is_current,
            "reported_at": report.at,
            "revoked": report.revoked,
            "targets": report.targets,
        })
    }

    /// The line about the state of deliveries, and rows of the targets that failed.
    pub(super) fn text(&self) -> Option<(String, Vec<Vec<String>>)> {
        let report = self.report.as_ref()?;
        let failed: Vec<_> = report.targets.iter().filter(|target| !target.delivered).map(row).collect();
        let state = if self.is_current { "the agent has every change" } else { "a change has not arrived yet" };
        let problems = if failed.is_empty() { String::new() } else { format!(", {} targets failed", failed.len()) };
        Some((format!("{state}; reported {}{problems}", output::local(report.at)), failed))
    }

    /// Whether the agent of a revoked workspace has taken away what it delivered.
    pub(super) fn confirmation(&self, agent: &Agent) -> String {
        match &self.report {
            Some(report) if report.revoked && self.is_current => confirmed(report),
            None if self.has_fetched => {
                "cannot be confirmed: it is not an agent of this product; its token is refused".to_owned()
            }
            _ if agent.connection() == Connection::Connected => "pending: the agent is connected".to_owned(),
            _ => "pending: the agent is away and learns of it when it comes back".to_owned(),
        }
    }
}

fn confirmed(report: &ReportedDelivery) -> String {
    let stale = report.targets.iter().filter(|target| target.kind == "stale");
    let (removed, left): (Vec<_>, Vec<_>) = stale.partition(|target| target.outcome == "removed");
    let deleted = format!("confirmed {}: {} files deleted", output::local(report.at), removed.len());
    let left = left.iter().map(|target| format!("{} {}", target.name, target.outcome));
    output::printable(&[deleted].into_iter().chain(left).collect::<Vec<_>>().join("; "))
}

fn row(target: &ReportedTarget) -> Vec<String> {
    [&target.kind, &target.name, &target.outcome].map(|text| output::printable(text)).to_vec()
}

/// Since when a workspace is revoked, for programs.
pub(super) fn revoked_json(workspace: &Workspace) -> Value {
    workspace.revoked.as_ref().map(|revoked| json!({ "at": revoked.at, "reason": revoked.reason })).into()
}

/// The same for a person.
pub(super) fn revoked_text(workspace: &Workspace) -> Option<String> {
    let revoked = workspace.revoked.as_ref()?;
    let reason =
        if revoked.reason.is_empty() { String::new() } else { format!(": {}", output::printable(&revoked.reason)) };
    Some(format!("{}{reason}", output::local(revoked.at)))
}
