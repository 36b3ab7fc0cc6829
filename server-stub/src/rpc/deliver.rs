//! The one call that hands out secrets.

use protocol::agent_api::{Manifest, log::Level};
use protocol::drpc::Status;

use crate::api_error::{AWAY, DISK_FULL};
use crate::auth::Agent;
use crate::delivery::manifest::{self, LeftOut, Reason};
use crate::limits::Caller;
use crate::metrics::{self, Left, Outcome};
use crate::state::AppState;
use crate::store::audit::Record;
use crate::store::workspaces::NewLine;
use crate::store::{Generation, Outage, StoreError, is_disk_full, now, outage};

/// A manifest, with an audit record of its delivery.
pub(super) async fn manifest(state: &AppState, agent: &Agent) -> Result<(Manifest, Generation), Status> {
    let made = make(state, agent).await;
    metrics::manifest(made.as_ref().map_or_else(|(outcome, _)| *outcome, |_| Outcome::Delivered));
    let (manifest, generation) = made.map_err(|(_, status)| status)?;
    for secret in &manifest.secrets {
        metrics::delivered(!secret.env_name.is_empty(), !secret.file_path.is_empty());
    }
    Ok((manifest, generation))
}

async fn make(state: &AppState, agent: &Agent) -> Result<(Manifest, Generation), (Outcome, Status)> {
    let broken = |error: StoreError| (Outcome::Failed, failed(state, agent, &error));
    let sources = state.store.agents().manifest_sources(&agent.identity).await.map_err(broken)?;
    let Some(sources) = sources else {
        return Err((Outcome::Refused, Status::new("the agent or its token does not exist any more")));
    };
    let generation = sources.generation;
    let built = manifest::build(&agent.identity, sources, &state.settings.targets).map_err(|error| {
        tracing::error!(agent = %agent.identity.path(), "{error}");
        (Outcome::TooLarge, Status::new(error.to_string()))
    })?;
    tell_left_out(state, agent, &built.left_out).await.map_err(broken)?;
    let delivered = built.manifest.secrets.len();
    if may_log(state, agent) {
        let address = agent.actor.address().map(tracing::field::display);
        tracing::info!(agent = %agent.identity.path(), address, secrets = delivered, "delivering the manifest");
    }
    if delivered > 0 {
        let record = record(agent).diff(serde_json::json!({ "delivered": delivered }));
        // A stop of the server waits for what the tracker knows.
        state.deliveries.write(&state.store, &state.sessions, record).await.map_err(broken)?;
    }
    Ok((built.manifest, generation))
}

fn record(agent: &Agent) -> Record {
    Record::new(agent.actor.clone(), "deliver", "user_secret").on(agent.identity.owner_id, &agent.identity.owner_name)
}

/// Reports values that are not delivered: to the owner in the startup log. A value that cannot be decrypted is also reported to the
/// administrator, in the server's log and the audit log.
async fn tell_left_out(state: &AppState, agent: &Agent, left_out: &[LeftOut]) -> Result<(), StoreError> {
    if left_out.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(left_out.len());
    for LeftOut { what, reason } in left_out {
        let (level, why) = match reason {
            Reason::Unreadable(reason) => {
                tell_unreadable(state, agent, what, reason).await?;
                // The reason names keys and tables, which are for the administrator.
                (Level::Error, "the server cannot decrypt it; ask your administrator".to_owned())
            }
            Reason::Denied(target) => (Level::Warn, format!("the deployment administrator denies the target {target}")),
        };
        let output = format!("{what} was not delivered: {why}");
        lines.push(NewLine { created_at: now(), level: level.into(), output });
    }
    state.store.logs().append_from_server(agent.identity.id, lines).await
}

async fn tell_unreadable(state: &AppState, agent: &Agent, what: &str, reason: &str) -> Result<(), StoreError> {
    metrics::left_out(if what.starts_with("secret ") { Left::Secret } else { Left::Variable });
    if may_log(state, agent) {
        tracing::error!(agent = %agent.identity.path(), what, reason, "a value was not delivered");
    }
    let diff = serde_json::json!({ "left_out": what, "reason": reason });
    state.uses.record(&state.store, record(agent).status(500).diff(diff)).await
}

/// Whether this event of the agent gets a log line. An agent that causes too many events gets no more lines.
pub(super) fn may_log(state: &AppState, agent: &Agent) -> bool {
    state.uses.lines.may_log(Caller::Known(agent.identity.path()))
}

/// What the agent hears of a failure of the server. The server's log has the details.
pub(super) fn failed(state: &AppState, agent: &Agent, error: &(dyn std::error::Error + 'static)) -> Status {
    if may_log(state, agent) {
        tracing::error!(agent = %agent.identity.path(), error, "a call of an agent failed");
    }
    Status::new(match outage(error) {
        _ if is_disk_full(error) => DISK_FULL,
        Some(Outage::Unreachable) => AWAY,
        Some(Outage::Unknown) => {
            "The server has lost its database in the middle of a change, which may have been made."
        }
        None => "internal error; the log of the server says why",
    })
}
