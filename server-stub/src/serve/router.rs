//! All routes of the server, and what surrounds each of them.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use super::observe;
use crate::api_error::ApiError;
use crate::state::AppState;
use crate::{rest, rpc};

/// The REST API, the Agent API and the health check.
pub(super) fn router(state: AppState) -> Router {
    let api = rest::routes().merge(rpc::routes());
    surround(Router::new().nest("/api/v2", api).route("/healthz", get(async || "OK")), state)
}

/// What every route has: an answer where there is no route or the handler panics, a log line, the common headers.
pub(super) fn surround(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "Route not found."))
        .method_not_allowed_fallback(async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed."))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}
