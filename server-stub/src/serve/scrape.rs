//! `GET /metrics`, on a socket of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::tls::Identity;
use crate::metrics::{self, Now};
use crate::state::AppState;
use crate::store::StoreError;

/// Connections at a time: a Prometheus or two, and somebody who looks by hand.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// The one route. Whoever reaches the socket may read it: it names nobody.
pub(super) fn router(state: AppState, identity: Option<Arc<Identity>>) -> Router {
    let answer = move |State(state): State<AppState>| {
        let identity = identity.clone();
        async move { answer(&state, identity.as_deref()).await }
    };
    Router::new().route("/metrics", get(answer)).with_state(state)
}

async fn answer(state: &AppState, identity: Option<&Identity>) -> Response {
    let key_made = state.store.keys().active_since().await.unwrap_or_else(|error: StoreError| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot tell the age of the encryption key");
        None
    });
    let (writes, connections) = state.store.load();
    let now = Now {
        agents: state.fleet.versions(),
        writes,
        connections,
        key_made: key_made.map(|made| made.as_duration().as_secs_f64()),
        certificate_expires: identity.and_then(Identity::expires).map(|expires| expires.as_secs_f64()),
        stopping: state.stopping.is_cancelled(),
    };
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&now)).into_response()
}
