//! All routes of the server, and what surrounds each of them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use protocol::problem::Problem;
use tower_http::catch_panic::CatchPanicLayer;

use super::observe;
use super::readiness::Readiness;
use crate::api_error::ApiError;
use crate::state::AppState;
use crate::{rest, rpc};

/// The REST API, the Agent API and the health checks; `disk` is where the database is, unless another server keeps it.
pub(super) fn router(state: AppState, disk: Option<PathBuf>) -> Router {
    let api = rest::routes().merge(rpc::routes());
    let readiness = Arc::new(Readiness::new(disk));
    let ready = move |State(state): State<AppState>| {
        let readiness = Arc::clone(&readiness);
        async move { readiness.answer(&state).await }
    };
    let routes = Router::new().nest("/api/v2", api).route("/healthz", get(async || "OK")).route("/readyz", get(ready));
    surround(routes, state)
}

/// What every route has: an answer where there is no route or the handler panics, a log line, the common headers.
pub(super) fn surround(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(async |uri: Uri| unsupported(uri.path()))
        .method_not_allowed_fallback(async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed."))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

/// What a client of Coder may ask for, and what this server says to it.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("templates", "This server has no templates; workspaces are defined with: coder workspace apply FILE"),
    ("templateversions", "This server has no templates; workspaces are defined with: coder workspace apply FILE"),
    ("organizations", "This server has no organizations and no templates."),
    ("groups", "This server has no groups."),
    ("builds", "This server does not start, stop or build workspaces; whoever runs the agent does."),
    ("coordinate", "This server does not connect to workspaces; use your own ssh to reach them."),
    ("connection", "This server does not connect to workspaces; use your own ssh to reach them."),
    ("pty", "This server has no web terminal; use your own ssh to reach the workspace."),
    ("proxy-regions", "This server has no workspace proxies."),
    ("workspaceproxies", "This server has no workspace proxies."),
    ("provisionerdaemons", "This server has no provisioners."),
    ("licenses", "This server needs no license."),
];

/// The answer to a path without a route.
fn unsupported(path: &str) -> ApiError {
    let asked = |(word, _): &&(&str, &str)| path.split('/').any(|segment| segment == *word);
    let about = UNSUPPORTED.iter().find(asked).map_or("Route not found.", |(_, sentence)| *sentence);
    let detail = "coder-server keeps user secrets and delivers them to workspaces; it speaks that part of Coder's API.";
    ApiError::with(StatusCode::NOT_FOUND, Problem::new(about).detail(detail))
}
