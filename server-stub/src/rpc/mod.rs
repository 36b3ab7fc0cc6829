//! The Agent API: a WebSocket that an agent dials, and the calls it makes over it.

mod deliver;
mod dial;
#[cfg(test)]
mod replay_tests;
mod reports;
mod service;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod version;
mod watch;

use axum::Router;
use axum::routing::get;

use crate::state::AppState;

/// Where agents dial, below `/api/v2`.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/workspaceagents/me/rpc", get(dial::dial))
}
