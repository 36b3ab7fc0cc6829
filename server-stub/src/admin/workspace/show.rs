//! `coder-server workspace show`

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use protocol::agent_api::log::Level;
use protocol::agent_api::own_log_source;
use protocol::agent_api::timing::{Stage, Status as Outcome};
use protocol::definition::RequiredSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::{AdminError, output};
use super::deliveries::{self, Reported};
use super::path;
use crate::store::workspaces::{Agent, Connection, Line, ResourceItem, SERVER_SOURCE, Script, Workspace};
use crate::store::{Store, StoreError};
use crate::workspace_json::{self as shapes, level_word, lifecycle_word};

/// What stands for a value that is shown only when somebody asks for it alone.
const DOTS: &str = "••••••••";
/// Lines of log that people are shown; `--json` has all.
const SHOWN_LINES: usize = 40;
/// Failed deliveries that people are shown.
const SHOWN_FAILURES: usize = 10;
/// The server builds the manifest, and says what it cannot deliver, shortly before the agent says that it starts.
const BEFORE_THE_START: SignedDuration = SignedDuration::from_secs(30);

/// What an agent told beside its own rows.
struct Reports {
    agent: Uuid,
    scripts: Vec<Script>,
    sources: HashMap<Uuid, String>,
    lines: Vec<Line>,
}

impl Reports {
    async fn read(store: &Store, agent: Uuid) -> Result<Self, StoreError> {
        let sources = store.logs().sources(agent).await?;
        let (mut lines, mut after) = (Vec::new(), 0);
        loop {
            let more = store.logs().lines(agent, after).await?;
            let Some(last) = more.last() else { break };
            after = last.id;
            lines.extend(more);
        }
        Ok(Self {
            agent,
            scripts: store.agents().scripts(agent).await?,
            sources: sources.into_iter().map(|source| (source.id, source.display_name)).collect(),
            lines,
        })
    }

    fn source(&self, line: &Line) -> &str {
        self.sources.get(&line.source_id).map_or("", String::as_str)
    }

    /// Failed deliveries since the last start: warnings and errors among the outcomes.
    fn failures(&self, started_at: Option<Timestamp>) -> impl Iterator<Item = &Line> {
        let failed = |line: &&Line| matches!(Level::try_from(line.level), Ok(Level::Warn | Level::Error));
        let since = move |line: &&Line| {
            let earlier = if line.source_id == SERVER_SOURCE { BEFORE_THE_START } else { SignedDuration::ZERO };
            started_at.is_none_or(|start| line.created_at >= start - earlier)
        };
        self.outcomes().filter(failed).filter(since)
    }

    /// What agent and server have told of deliveries, in sources of their own. Not the lines of all others: a script may be
    /// one that the template has no more.
    fn outcomes(&self) -> impl Iterator<Item = &Line> {
        let own = [own_log_source(self.agent), SERVER_SOURCE];
        self.lines.iter().filter(move |line| own.contains(&line.source_id))
    }
}

/// Everything, in the shapes of the API, and beside them what only this command shows.
pub(super) async fn json(store: &Store, workspace: &Workspace) -> Result<(), AdminError> {
    let mut shown = shapes::workspace(store, workspace).await?;
    let mut agents = Vec::with_capacity(workspace.agents.len());
    for agent in &workspace.agents {
        agents.push(agent_json(store, agent).await?);
    }
    shown["owner"] = workspace.owner_name.clone().into();
    shown["revoked"] = deliveries::revoked_json(workspace);
    shown["agents"] = agents.into();
    output::json(&shown)
}

async fn agent_json(store: &Store, agent: &Agent) -> Result<Value, AdminError> {
    let reports = Reports::read(store, agent.id).await?;
    let line = |line: &Line| {
        let mut shown = shapes::line(line);
        shown["source"] = reports.source(line).into();
        shown
    };
    let mut shown = shapes::agent(store, agent).await?;
    let lifecycle = store.agents().lifecycle(agent.id).await?;
    shown["lifecycle"] =
        lifecycle.iter().map(|(state, at)| json!({ "state": lifecycle_word(*state), "changed_at": at })).collect();
    shown["script_results"] = reports.scripts.iter().filter_map(script_json).collect();
    shown["metadata"] = metadata_json(store, agent.id).await?;
    shown["last_delivery"] = store
        .agents()
        .last_delivery(agent.id)
        .await?
        .map(|delivery| json!({ "time": delivery.time, "address": delivery.address, "secrets": delivery.secrets }))
        .into();
    shown["delivery"] = Reported::read(store, agent).await?.json();
    shown["target_outcomes"] = reports.outcomes().map(line).collect();
    shown["startup_log"] = reports.lines.iter().map(line).collect();
    Ok(shown)
}

fn script_json(script: &Script) -> Option<Value> {
    let last = script.last?;
    Some(json!({
        "display_name": script.display_name,
        "script_id": script.id,
        "stage": stage_word(last.stage),
        "status": outcome_word(last.status),
        "exit_code": last.exit_code,
        "started_at": last.started_at,
        "ended_at": last.ended_at,
    }))
}

async fn metadata_json(store: &Store, agent: Uuid) -> Result<Value, AdminError> {
    let items = store.agents().metadata(agent).await?;
    let item = |item: &crate::store::workspaces::Metadata| {
        json!({
            "key": item.key,
            "display_name": item.display_name,
            "value": item.value,
            "error": item.error,
            "collected_at": item.collected_at,
        })
    };
    Ok(items.iter().map(item).collect())
}

fn outcome_word(status: i32) -> String {
    Outcome::try_from(status).map_or_else(|_| "unknown".to_owned(), |status| status.as_str_name().to_ascii_lowercase())
}

fn stage_word(stage: i32) -> String {
    Stage::try_from(stage).map_or_else(|_| "unknown".to_owned(), |stage| stage.as_str_name().to_ascii_lowercase())
}

/// The same for a person.
pub(super) async fn text(store: &Store, workspace: &Workspace) -> Result<(), AdminError> {
    output::line(&format!("workspace  {}", path(workspace)))?;
    output::line(&format!("applied    {}", output::local(workspace.updated_at)))?;
    let revoked = deliveries::revoked_text(workspace);
    if let Some(since) = &revoked {
        output::line(&format!("revoked    {since}"))?;
    }
    if let Some(at) = workspace.stopped_at {
        output::line(&format!("stopped    {}", output::local(at)))?;
    }
    resources_text(store, workspace).await?;
    for agent in &workspace.agents {
        agent_text(store, agent, revoked.is_some()).await?;
    }
    Ok(())
}

/// Hidden resources are left out, and sensitive values are eight dots.
async fn resources_text(store: &Store, workspace: &Workspace) -> Result<(), AdminError> {
    let resources = store.workspaces().resources(workspace.id).await?;
    let rows = resources.iter().filter(|resource| !resource.hide).flat_map(|resource| {
        let address = output::printable(&resource.address);
        if resource.items.is_empty() {
            return vec![vec![address, String::new(), String::new()]];
        }
        let row = |item: &ResourceItem| {
            let value = if item.sensitive { DOTS } else { item.value.as_deref().unwrap_or("null") };
            vec![address.clone(), output::printable(&item.key), output::printable(value)]
        };
        resource.items.iter().map(row).collect::<Vec<_>>()
    });
    section("resources", rows.collect())?;
    let required = store.workspaces().required_secrets(workspace.id).await?;
    let row = |it: &RequiredSecret| {
        let target = if it.env.is_empty() { &it.file } else { &it.env };
        vec![output::printable(target), output::printable(&it.help_message)]
    };
    section("secrets that the template needs", required.iter().map(row).collect())
}

async fn agent_text(store: &Store, agent: &Agent, is_revoked: bool) -> Result<(), AdminError> {
    let reports = Reports::read(store, agent.id).await?;
    output::line(&format!("\nagent      {}", agent.name))?;
    output::line(&format!("status     {}", connection_text(agent)))?;
    output::line(&format!("lifecycle  {}", lifecycle_text(store, agent).await?))?;
    if !agent.expanded_directory.is_empty() {
        output::line(&format!("directory  {}", output::printable(&agent.expanded_directory)))?;
    }
    if let Some(delivery) = store.agents().last_delivery(agent.id).await? {
        let (count, at) = (delivery.secrets, output::local(delivery.time));
        output::line(&format!("secrets    {count} delivered {at} to {}", delivery.address))?;
    }
    delivery_text(store, agent, is_revoked).await?;
    section("scripts", reports.scripts.iter().map(script_row).collect())?;
    let metadata = store.agents().metadata(agent.id).await?;
    let value = |item: &crate::store::workspaces::Metadata| {
        let shown = if item.error.is_empty() { item.value.clone() } else { format!("error: {}", item.error) };
        let at = item.collected_at.map_or_else(|| "never collected".to_owned(), output::local);
        vec![item.display_name.clone(), output::printable(&shown), at]
    };
    section("metadata", metadata.iter().map(value).collect())?;
    let failures: Vec<_> = reports.failures(agent.started_at).collect();
    let more = failures.len().saturating_sub(SHOWN_FAILURES);
    let title = if more > 0 {
        format!("delivery failures since the last start ({more} more, --json has all)")
    } else {
        "delivery failures since the last start".to_owned()
    };
    section(&title, failures.iter().take(SHOWN_FAILURES).map(|line| line_row(&reports, line)).collect())?;
    let skipped = reports.lines.len().saturating_sub(SHOWN_LINES);
    let title = if skipped > 0 { format!("log (last {SHOWN_LINES} lines, --json has all)") } else { "log".to_owned() };
    section(&title, reports.lines.iter().skip(skipped).map(|line| line_row(&reports, line)).collect())
}

fn section(title: &str, rows: Vec<Vec<String>>) -> Result<(), AdminError> {
    if rows.is_empty() {
        return Ok(());
    }
    output::line(&format!("\n{title}"))?;
    output::table(&[], rows)
}

fn connection_text(agent: &Agent) -> String {
    let version =
        if agent.version.is_empty() { String::new() } else { format!(", agent {}", output::printable(&agent.version)) };
    match (agent.connection(), agent.presence) {
        (Connection::Connected, Some(presence)) => {
            format!("connected, last seen {}{version}", output::local(presence.last_connected_at))
        }
        (status, Some(presence)) => {
            let since = presence.disconnected_at.unwrap_or(presence.last_connected_at);
            format!("{} since {}{version}", status.as_str(), output::local(since))
        }
        (status, None) => format!("{}, never seen", status.as_str()),
    }
}

/// What the agent told of its last delivery.
async fn delivery_text(store: &Store, agent: &Agent, is_revoked: bool) -> Result<(), AdminError> {
    let reported = Reported::read(store, agent).await?;
    if is_revoked {
        output::line(&format!("revocation {}", reported.confirmation(agent)))?;
    }
    let Some((state, failed)) = reported.text() else { return Ok(()) };
    output::line(&format!("changes    {state}"))?;
    section("targets that failed", failed)
}

async fn lifecycle_text(store: &Store, agent: &Agent) -> Result<String, AdminError> {
    let history = store.agents().lifecycle(agent.id).await?;
    let since = history.last().map(|(_, at)| format!(" since {}", output::local(*at))).unwrap_or_default();
    let took =
        agent.started_at.zip(agent.ready_at).map(|(start, ready)| format!(", start took {}", span(start, ready)));
    Ok(format!("{}{since}{}", lifecycle_word(agent.lifecycle), took.unwrap_or_default()))
}

fn script_row(script: &Script) -> Vec<String> {
    let result = script.last.map_or_else(
        || "has not run".to_owned(),
        |last| {
            let (status, took) = (outcome_word(last.status), span(last.started_at, last.ended_at));
            let status = format!("{}: {status}", stage_word(last.stage));
            format!("{status}, exit code {}, took {took}, {}", last.exit_code, output::local(last.ended_at))
        },
    );
    vec![script.display_name.clone(), result]
}

fn line_row(reports: &Reports, line: &Line) -> Vec<String> {
    let source = output::printable(reports.source(line));
    vec![output::local(line.created_at), source, level_word(line.level).to_owned(), output::printable(&line.output)]
}

fn span(start: Timestamp, end: Timestamp) -> String {
    let took: SignedDuration = end.duration_since(start);
    if took < SignedDuration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_readable_unit() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        assert_eq!(span(at(0), at(1250)), "1.2 s");
        assert_eq!(span(at(0), at(12)), "12 ms");
        assert_eq!(outcome_word(1), "exit_failure");
        assert_eq!(outcome_word(77), "unknown");
    }
}
