//! The Agent API: a WebSocket that an agent dials, and the calls it makes over it.

mod deliver;
mod dial;
mod monitor;
mod reports;
mod service;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod version;

use axum::Router;
use axum::routing::get;

use crate::serve::AppState;

pub use monitor::Monitor;

/// Where agents dial.
pub fn routes() -> Router<AppState> {
    Router::new().route("/api/v2/workspaceagents/me/rpc", get(dial::dial))
}
