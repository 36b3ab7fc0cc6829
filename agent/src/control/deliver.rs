use std::time::Duration;

use protocol::agent_api::{
    BatchCreateLogsRequest, BatchCreateLogsResponse, BatchUpdateMetadataRequest, BatchUpdateMetadataResponse,
    Lifecycle, Startup, UpdateLifecycleRequest, UpdateStartupRequest, WorkspaceAgentScriptCompletedRequest,
    WorkspaceAgentScriptCompletedResponse, path,
};
use protocol::drpc::{CallError, Client};
use protocol::live::{REPORT, ReportResponse};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use super::follow::Word;
use super::rest::Rest;
use super::retry::Retry;
use crate::report::{Event, Reading, Reporter};

/// A server that refuses the same report this often will not take it later either; the states behind it must get out.
const ATTEMPTS: u32 = 5;
/// Between two messages of metadata, or of deliveries.
const READINGS_PAUSE: Duration = Duration::from_secs(1);
/// After that metadata is sent again, newer by then.
const READINGS_LIMIT: Duration = Duration::from_secs(30);

/// Empties the queues of `reporter` until the session breaks. `words`: what the server has said of changes; one that has not does not want
/// to hear of deliveries either.
pub(super) async fn deliver(
    reporter: &Reporter,
    client: &Client,
    rest: &Rest<'_>,
    words: watch::Receiver<Word>,
) -> CallError {
    tokio::select! {
        error = deliveries(reporter, client, words) => error,
        error = events(reporter, client) => error,
        error = lines(reporter, client, rest) => error,
        error = readings(reporter, client) => error,
    }
}

async fn events(reporter: &Reporter, client: &Client) -> CallError {
    loop {
        let event = reporter.next_event().await;
        let mut retry = Retry::new();
        for attempt in 1.. {
            match send(client, event.clone()).await {
                Ok(()) => break,
                Err(error @ CallError::Refused(_)) if error.is_unimplemented() || attempt == ATTEMPTS => {
                    warn!("the server does not take a report, which is left out: {error}");
                    break;
                }
                Err(error @ CallError::Refused(_)) => {
                    debug!("the server refused a report: {error}");
                    sleep(retry.pause()).await;
                }
                Err(error) => return error,
            }
        }
        reporter.event_done();
    }
}

async fn send(client: &Client, event: Event) -> Result<(), CallError> {
    match event {
        Event::Startup(startup) => {
            let request = UpdateStartupRequest { startup: Some(startup) };
            client.call::<_, Startup>(path::UPDATE_STARTUP, &request).await.map(drop)
        }
        Event::Lifecycle(lifecycle) => {
            let request = UpdateLifecycleRequest { lifecycle: Some(lifecycle) };
            client.call::<_, Lifecycle>(path::UPDATE_LIFECYCLE, &request).await.map(drop)
        }
        Event::Script(timing) => {
            let request = WorkspaceAgentScriptCompletedRequest { timing: Some(timing) };
            let call = client.call::<_, WorkspaceAgentScriptCompletedResponse>(path::SCRIPT_COMPLETED, &request);
            call.await.map(drop)
        }
    }
}

async fn lines(reporter: &Reporter, client: &Client, rest: &Rest<'_>) -> CallError {
    let mut registered = None;
    loop {
        let (source, logs) = reporter.next_lines().await;
        if reporter.own_source() == Some(source) && registered != Some(source) {
            register(rest, source).await;
            registered = Some(source);
        }
        let count = logs.len();
        let request = BatchCreateLogsRequest { log_source_id: source.as_bytes().to_vec(), logs };
        match client.call::<_, BatchCreateLogsResponse>(path::BATCH_CREATE_LOGS, &request).await {
            Ok(answer) => {
                reporter.lines_done(source, count);
                if answer.log_limit_exceeded {
                    reporter.lines_refused();
                }
            }
            Err(error @ CallError::Refused(_)) => {
                warn!(%source, count, "the server does not take log lines, which are only in the local log file: {error}");
                reporter.lines_done(source, count);
            }
            Err(error) => return error,
        }
    }
}

async fn readings(reporter: &Reporter, client: &Client) -> CallError {
    let mut refused = false;
    loop {
        let batch = reporter.next_readings().await;
        let metadata = batch.iter().map(Reading::to_wire).collect();
        let request = BatchUpdateMetadataRequest { metadata };
        let call = client.call::<_, BatchUpdateMetadataResponse>(path::BATCH_UPDATE_METADATA, &request);
        match timeout(READINGS_LIMIT, call).await {
            Ok(Ok(_)) => reporter.readings_done(&batch),
            Ok(Err(error @ CallError::Refused(_))) => {
                // Once a session: the next second has the next readings.
                if !std::mem::replace(&mut refused, true) {
                    warn!("the server does not take metadata: {error}");
                }
                reporter.readings_done(&batch);
            }
            Ok(Err(error)) => return error,
            Err(_) => debug!("no answer to metadata within {READINGS_LIMIT:?}"),
        }
        sleep(READINGS_PAUSE).await;
    }
}

/// Tells how deliveries went: the last one, if several wait.
async fn deliveries(reporter: &Reporter, client: &Client, mut words: watch::Receiver<Word>) -> CallError {
    // Its sender lives as long as the session.
    let _ = words.wait_for(|word| matches!(word, Word::Current(_))).await;
    let mut refused = false;
    loop {
        let report = reporter.next_delivery().await;
        match client.call::<_, ReportResponse>(REPORT, &report).await {
            Ok(_) => refused = false,
            Err(error @ CallError::Refused(_)) => {
                if error.is_unimplemented() {
                    return std::future::pending().await;
                }
                // Its database may be full, and the report is of interest later as well.
                if !std::mem::replace(&mut refused, true) {
                    warn!("the server does not take the report of a delivery: {error}");
                }
                sleep(READINGS_LIMIT).await;
                continue;
            }
            Err(error) => return error,
        }
        reporter.delivery_done(&report);
        sleep(READINGS_PAUSE).await;
    }
}

/// Where this fails the lines are sent all the same: the server may know the source from an earlier start.
async fn register(rest: &Rest<'_>, source: Uuid) {
    if let Err(error) = rest.post_log_source(source).await {
        debug!(error = &error as &dyn std::error::Error, "cannot register the agent's own log source");
    }
}
