//! Around every request: its line in the access log, the audit of refusals, the headers of every answer.

use std::any::Any;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::rest::BUILD_VERSION_HEADER;

use crate::api_error::{About, ApiError};
use crate::auth::Admitted;
use crate::rest::VERSION;
use crate::state::AppState;
use crate::store::audit::Record;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_UTF_8: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (mut parts, body) = request.into_parts();
    let admitted = Admitted::default();
    parts.extensions.insert(admitted.clone());
    let method = parts.method.clone();
    // The pattern, not the path: a path may hold what somebody pasted by mistake, and a query may hold a token.
    let route = parts.extensions.get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let named = RawPathParams::from_request_parts(&mut parts, &state).await;
    let named = named.ok().and_then(|params| Some(params.iter().find(|(key, _)| *key == "name")?.1.to_owned()));

    let mut response = next.run(Request::from_parts(parts, body)).await;

    response.headers_mut().insert(BUILD_VERSION_HEADER, HeaderValue::from_static(VERSION));
    if response.headers().get(header::CONTENT_TYPE) == Some(&JSON) {
        response.headers_mut().insert(header::CONTENT_TYPE, JSON_UTF_8);
    }
    let status = response.status();
    let about = response.extensions_mut().remove::<About>().map(|about| about.0).or(named);
    refused(&state, &admitted, &method, &route, about, status).await;
    let principal = admitted.actor().and_then(|actor| Some(actor.id()?.to_string()));
    tracing::info!(
        target: "server_stub::access",
        %method,
        route,
        status = status.as_u16(),
        ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        principal,
    );
    response
}

/// Audits a refusal of a known caller. Too many requests are not recorded one by one, or a loop would fill the disk.
async fn refused(
    state: &AppState,
    admitted: &Admitted,
    method: &Method,
    route: &str,
    about: Option<String>,
    status: StatusCode,
) {
    let Some(actor) = admitted.actor() else { return };
    if status.as_u16() < 400 || status == StatusCode::TOO_MANY_REQUESTS {
        return;
    }
    let action = match *method {
        Method::POST => "create",
        Method::PATCH | Method::PUT => "write",
        Method::DELETE => "delete",
        _ => "read",
    };
    let resource = match route {
        route if route.contains("/secrets") => "user_secret",
        route if route.contains("/workspaceagents") => "workspace_agent",
        route if route.contains("/workspaces") => "workspace",
        route if route.contains("/users") => "user",
        _ => "request",
    };
    let record =
        Record::new(actor.clone(), action, resource).on(None, &about.unwrap_or_default()).status(status.as_u16());
    if let Err(error) = state.store.audit().write(record).await {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot audit a refused request");
    }
}

/// The answer of a handler that panicked; what it panicked with stays here.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.").into_response()
}
