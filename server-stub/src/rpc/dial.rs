//! The WebSocket route that agents dial, and the life of a session.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use protocol::drpc::{self, Shares};
use protocol::problem::Problem;
use protocol::session::{Options, Role, Session};
use serde::Deserialize;
use tokio::time::timeout;

use super::deliver::may_log;
use super::service::AgentService;
use super::transport::{self, Messages};
use super::{version, watch};
use crate::api_error::ApiError;
use crate::auth::{self, Agent, EvenRevoked};
use crate::state::AppState;

/// Longer versions are cut before they are stored.
const MAX_VERSION: usize = 32;

/// How long the server waits before it records a connection. A session begins with the calls of a boot, which somebody waits for; they
/// should not queue behind a record that nobody reads yet.
const SETTLING: Duration = Duration::from_millis(100);

/// The query parameters of a dial.
#[derive(Debug, Deserialize)]
pub(super) struct Wishes {
    version: Option<String>,
    role: Option<String>,
    /// `1`: the agent asks for changes by itself.
    live: Option<String>,
}

/// Who dials.
#[derive(Clone, Debug)]
struct Caller {
    api_version: String,
    /// Another role uses the agent's token without being the agent, such as a log streamer.
    is_agent: bool,
    /// Of Coder's own: it hears of a change when it dials again.
    is_deaf: bool,
}

/// `GET /workspaceagents/me/rpc`.
pub(super) async fn dial(
    EvenRevoked(agent): EvenRevoked,
    State(state): State<AppState>,
    wishes: Result<Query<Wishes>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Query(wishes) =
        wishes.map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "Query parameters are not valid."))?;
    let is_live = wishes.live.is_some_and(|live| live == "1");
    // Ours is told that its workspace is revoked, takes away what it delivered, and confirms it.
    if agent.identity.is_revoked && !is_live {
        return Err(auth::revoked());
    }
    let mut version = wishes.version.unwrap_or_else(|| version::DEFAULT.to_owned());
    version.truncate(version.floor_char_boundary(MAX_VERSION));
    version::check(&version).map_err(|problem| ApiError::with(StatusCode::BAD_REQUEST, problem))?;
    check_origin(&headers)?;
    let upgrade = match upgrade {
        Ok(upgrade) => transport::sized(upgrade),
        Err(rejection) => return Err(not_a_websocket(rejection)),
    };
    if state.fleet.is_closed() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "The server is stopping."));
    }
    // Held until the session stands; an upgrade that never completes drops it with the callback.
    let place = state.limits.dial().await?;
    let running = state.sessions.token();
    let is_agent = wishes.role.is_none_or(|role| role == "agent");
    let is_deaf = is_agent && !is_live;
    let caller = Caller { api_version: version, is_agent, is_deaf };
    Ok(upgrade.on_upgrade(async move |socket| {
        drop(place);
        run(socket, agent, caller, state).await;
        drop(running);
    }))
}

/// Refuses dials from pages of other sites, which a browser would send with our cookie. Agents send no origin.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(|origin| origin.authority()).map(axum::http::uri::Authority::as_str);
    match (origin, text(header::HOST)) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(ApiError::new(StatusCode::FORBIDDEN, "The origin of the request is not this server.")),
    }
}

fn not_a_websocket(rejection: WebSocketUpgradeRejection) -> ApiError {
    let problem = Problem::new("Failed to accept websocket.").detail(rejection.to_string());
    ApiError::with(rejection.into_response().status(), problem)
}

/// Serves one session until the agent closes it, falls silent, loses its token, or the server stops, or until an agent that hears of changes
/// no other way has to dial again.
async fn run(socket: WebSocket, agent: Agent, caller: Caller, state: AppState) {
    let Caller { api_version, is_agent, is_deaf } = caller;
    let id = agent.identity.id;
    let session = Session::start(Messages(socket), Role::Server, Options::new(Role::Server));
    let pulse = session.pulse();
    let watch = state.fleet.watch(&agent.identity, is_agent, pulse.clone());
    let address = agent.actor.address();
    if may_log(&state, &agent) {
        tracing::info!(
            agent = %agent.identity.path(),
            address = address.map(tracing::field::display),
            %api_version,
            "agent connected"
        );
    }
    let connected = async {
        // A session that ends sooner is written down at once: whoever waits for its end looks next.
        let _ = timeout(SETTLING, pulse.closed()).await;
        if is_agent && let Err(error) = state.store.presence().connected(id, api_version).await {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot record a connection");
        }
    };
    let shares = state.limits.shares(id);
    let service = Arc::new(AgentService::new(state.clone(), agent.clone(), pulse.clone()));
    tokio::select! {
        // Calls are answered while the connection is being recorded, not after it.
        _ = async { tokio::join!(connected, drpc::serve_within(session, service.clone(), Shares::clone(&shares))) } => {}
        end = watch.ended() => {
            if may_log(&state, &agent) {
                tracing::info!(agent = %agent.identity.path(), "closing a session: {end}");
            }
        }
        () = watch::outdated(&state, &agent, || service.delivered()), if is_deaf => {}
        () = state.shutdown.cancelled() => {}
    }
    // Dropping the session has told its driver to close it properly; this waits for that, within the driver's limit.
    pulse.closed().await;
    if watch.leave()
        && let Err(error) = state.store.presence().disconnected(id).await
    {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot record a disconnection");
    }
    if may_log(&state, &agent) {
        let address = address.map(tracing::field::display);
        tracing::info!(agent = %agent.identity.path(), address, "agent disconnected");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_must_be_the_host() {
        let check = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            check_origin(&headers).is_ok()
        };
        assert!(check(None, "a:7080"));
        assert!(check(Some("http://A:7080"), "a:7080"));
        for bad in ["http://b:7080", "http://a", "null", "", "http://a:7080.evil"] {
            assert!(!check(Some(bad), "a:7080"), "{bad}");
        }
    }
}
