//! Around every request: its line in the access log, the audit of refusals, the headers of every answer.

use std::any::Any;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::rest::BUILD_VERSION_HEADER;

use crate::api_error::{About, ApiError};
use crate::auth::{self, Admitted};
use crate::limits::Caller;
use crate::metrics;
use crate::rest::VERSION;
use crate::state::AppState;
use crate::store::audit::{Actor, Record};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_UTF_8: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

pub(super) async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (mut parts, body) = request.into_parts();
    let admitted = parts.extensions.get_or_insert_default::<Admitted>().clone();
    let address = auth::address(&parts);
    let method = parts.method.clone();
    // The pattern, not the path: a path may hold what somebody pasted by mistake, and a query may hold a token.
    let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = matched.clone().unwrap_or_else(|| pattern(parts.uri.path()));
    let named = RawPathParams::from_request_parts(&mut parts, &state).await;
    let named = named.ok().and_then(|params| Some(params.iter().find(|(key, _)| *key == "name")?.1.to_owned()));

    let mut response = next.run(Request::from_parts(parts, body)).await;

    let headers = response.headers_mut();
    headers.insert(BUILD_VERSION_HEADER, HeaderValue::from_static(VERSION));
    // Answers hold private keys and what only one user may see; a proxy must keep none, and a browser must not guess their type.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if headers.get(header::CONTENT_TYPE) == Some(&JSON) {
        headers.insert(header::CONTENT_TYPE, JSON_UTF_8);
    }
    let status = response.status();
    metrics::request(method.as_str(), matched.as_deref(), status.as_u16(), start.elapsed());
    let about = response.extensions_mut().remove::<About>().map(|about| about.0).or(named);
    refused(&state, &admitted, &method, &route, about, status).await;
    let actor = admitted.actor();
    let (user, agent) = match actor {
        Some(Actor::User { name, .. }) => (Some(name.as_str()), None),
        Some(Actor::Agent { name, .. }) => (None, Some(name.as_str())),
        Some(Actor::Administrator) | None => (None, None),
    };
    let caller = match actor {
        Some(actor) if status != StatusCode::TOO_MANY_REQUESTS => Caller::Known(actor.name().to_owned()),
        _ => Caller::Address(address),
    };
    if state.uses.lines.may_log(caller) {
        tracing::info!(
            target: "server_stub::access",
            %method,
            route,
            status = status.as_u16(),
            ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            user,
            agent,
            address = address.map(tracing::field::display),
            "request"
        );
    }
    response
}

/// What a path without a route looks like, for the log: its words, with `{}` for everything that may be a name, an id or a token.
fn pattern(path: &str) -> String {
    const MAX_SEGMENTS: usize = 8;
    const MAX_WORD: usize = 24;
    let is_word = |segment: &str| {
        segment.len() <= MAX_WORD && segment.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    let shown = |segment| if is_word(segment) || segment == "v2" { segment } else { "{}" };
    let segments: Vec<_> = path.split('/').skip(1).take(MAX_SEGMENTS).map(shown).collect();
    format!("/{}", segments.join("/"))
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
    if let Err(error) = state.uses.record(&state.store, record).await
        && state.uses.lines.may_log(Caller::Known(actor.name().to_owned()))
    {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot audit a refused request");
    }
}

/// The answer of a handler that panicked; what it panicked with stays here.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.").into_response()
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_path_without_a_route_is_named_without_what_it_may_hold() {
        for (path, shown) in [
            ("/", "/"),
            ("/api/v2/templates", "/api/v2/templates"),
            ("/api/v2/workspaces/0a1b2c3d-0000-4000-8000-000000000000/builds", "/api/v2/workspaces/{}/builds"),
            ("/api/v2/users/me/keys/Ab3Ab3Ab3A-0123456789abcdefghijkl", "/api/v2/users/me/keys/{}"),
            ("/%2e%2e/etc\u{1b}", "/{}/{}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h"),
            ("/thisisalongwordthatcouldbeapassword", "/{}"),
        ] {
            assert_eq!(pattern(path), shown);
        }
    }
}
