//! The one call that hands out secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::agent_api::{Manifest, log::Level};
use protocol::drpc::Status;
use tokio::sync::Semaphore;

use crate::auth::Agent;
use crate::serve::AppState;
use crate::store::audit::Record;
use crate::store::workspaces::NewLine;
use crate::store::{StoreError, now};
use crate::workspaces::manifest::{self, LeftOut};

/// Records on their way to the disk while their deliveries go on. An agent that fetches in a loop soon waits for its own.
const MAX_BACKGROUND: usize = 1024;

/// Whether deliveries reach the audit log.
///
/// A delivery does not wait for the commit of its record: it would be most of the time that a workspace takes to start. It is in the
/// server's log by then, and a server killed within these milliseconds is the one way to lose the record. Once a record could not be
/// written, though, on a full disk say, nothing more is handed out before its record is on the disk.
#[derive(Debug)]
pub struct DeliveryAudit {
    failing: AtomicBool,
    background: Arc<Semaphore>,
}

impl Default for DeliveryAudit {
    fn default() -> Self {
        Self { failing: AtomicBool::new(false), background: Arc::new(Semaphore::new(MAX_BACKGROUND)) }
    }
}

/// The manifest of an agent, whose delivery is being audited.
pub(super) async fn manifest(state: &AppState, agent: &Agent) -> Result<Manifest, Status> {
    let sources = state.store.manifest_sources(&agent.identity).await.map_err(|error| failed(&error))?;
    let Some(sources) = sources else {
        return Err(Status::new("the agent or its token does not exist any more"));
    };
    let built = manifest::build(&agent.identity, sources, state.settings.file_paths).map_err(|error| {
        tracing::error!(agent = %agent.identity.path(), "{error}");
        Status::new(error.to_string())
    })?;
    tell_left_out(state, agent, &built.left_out).await.map_err(|error| failed(&error))?;
    let delivered = built.manifest.secrets.len();
    tracing::info!(agent = %agent.identity.path(), secrets = delivered, "delivering the manifest");
    if delivered > 0 {
        audit(state, record(agent).diff(serde_json::json!({ "delivered": delivered }))).await?;
    }
    Ok(built.manifest)
}

/// Has a delivery written down: in the background, unless the last one could not be, or too many are on their way.
async fn audit(state: &AppState, record: Record) -> Result<(), Status> {
    let writing = {
        let state = state.clone();
        async move {
            let written = state.store.audit(record).await;
            state.deliveries.failing.store(written.is_err(), Ordering::Relaxed);
            written.map_err(|error| failed(&error))
        }
    };
    match Arc::clone(&state.deliveries.background).try_acquire_owned() {
        Ok(place) if !state.deliveries.failing.load(Ordering::Relaxed) => {
            // A stop of the server waits for what the tracker knows.
            state.sessions.spawn(async move {
                let _place = place;
                // What went wrong is logged, and the next delivery heeds it.
                drop(writing.await);
            });
            Ok(())
        }
        _ => writing.await,
    }
}

fn record(agent: &Agent) -> Record {
    Record::new(agent.actor.clone(), "deliver", "user_secret").on(agent.identity.owner_id, &agent.identity.owner_name)
}

/// A value that cannot be read is told to the administrator in the server's log and the audit log, and to the owner in the startup log.
async fn tell_left_out(state: &AppState, agent: &Agent, left_out: &[LeftOut]) -> Result<(), StoreError> {
    if left_out.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::with_capacity(left_out.len());
    for LeftOut { what, reason } in left_out {
        tracing::error!(agent = %agent.identity.path(), %what, %reason, "a value was not delivered");
        let diff = serde_json::json!({ "left_out": what, "reason": reason });
        state.store.audit(record(agent).status(500).diff(diff)).await?;
        let output = format!("{what} was not delivered, ask the administrator: {reason}");
        lines.push(NewLine { created_at: now(), level: Level::Error.into(), output });
    }
    state.store.append_server_log(agent.identity.id, lines).await
}

/// What an agent is told of a failure of ours; its log and ours have the operation.
pub(super) fn failed(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error, "a call failed");
    Status::new(format!("internal error: {error}"))
}
