//! Session tokens, in Coder's routes and shapes. Everybody manages their own; owners list and revoke those of others.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use jiff::Timestamp;
use protocol::problem::{FieldProblem, Problem};
use protocol::rest::{self, ApiKey, CreateTokenRequest, CreatedToken, Scope, TokenConfig};
use serde::Deserialize;

use super::{JsonBody, OptionalJsonBody, Target};
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;
use crate::store::{Kind, TokenError, TokenInfo, Wanted};

/// An API token for which the client names no lifetime lives this long.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// The routes of this file. Their parameters are not called `name`: somebody may put a whole token there, and names are audited.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/users/{user}/keys", post(sign_in))
        .route("/users/{user}/keys/tokens", get(list).post(create))
        .route("/users/{user}/keys/tokens/tokenconfig", get(config))
        .route("/users/{user}/keys/tokens/{token}", get(by_name))
        .route("/users/{user}/keys/{key}", get(by_id).delete(revoke))
        .route("/users/{user}/keys/{key}/expire", put(expire))
}

/// A session for a command line, which has to send no body.
async fn sign_in(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
    OptionalJsonBody(request): OptionalJsonBody<CreateTokenRequest>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    own(&user, &name)?;
    let scope = scope(&user, &request)?;
    let lifetime = Some(state.settings.accounts.session_duration);
    issue(user, &state, Wanted { name: String::new(), kind: Kind::Session, scope, lifetime }).await
}

async fn create(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
    JsonBody(request): JsonBody<CreateTokenRequest>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    own(&user, &name)?;
    let scope = scope(&user, &request)?;
    let longest = state.settings.accounts.max_token_lifetime;
    let lifetime = match u64::try_from(request.lifetime) {
        Ok(0) => DEFAULT_LIFETIME.min(longest),
        Ok(nanoseconds) if Duration::from_nanos(nanoseconds) <= longest => Duration::from_nanos(nanoseconds),
        _ => {
            let detail = format!("must be more than 0, and at most {} hours", longest.as_secs() / 3600);
            return Err(invalid("lifetime", detail));
        }
    };
    let name = request.token_name;
    issue(user, &state, Wanted { name, kind: Kind::Token, scope, lifetime: Some(lifetime) }).await
}

async fn issue(user: User, state: &AppState, wanted: Wanted) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    let made =
        state.store.tokens().create_with(user.actor, &user.session.user, wanted).await.map_err(
            |error| match error {
                TokenError::Exists(name) => {
                    let field = FieldProblem::new("token_name", "This value is already in use and should be unique.");
                    let message = format!("A token with name {name:?} already exists.");
                    ApiError::with(StatusCode::CONFLICT, Problem { validations: vec![field], ..Problem::new(message) })
                }
                TokenError::Name => invalid("token_name", error.to_string()),
                TokenError::Store(error) => error.into(),
            },
        )?;
    Ok((StatusCode::CREATED, Json(CreatedToken { key: made.token })))
}

/// A token may not make one that may do more.
fn scope(user: &User, request: &CreateTokenRequest) -> Result<Scope, ApiError> {
    let scope: Scope = request.scope.parse().map_err(|error: rest::NoScope| invalid("scope", error.to_string()))?;
    if scope == Scope::Workspaces {
        user.require_workspaces()?;
    }
    Ok(scope)
}

fn invalid(field: &str, detail: String) -> ApiError {
    ApiError::with(StatusCode::BAD_REQUEST, Problem::validation(vec![FieldProblem::new(field, detail)]))
}

/// Nobody makes tokens for others, administrators included: whoever has one is that user.
fn own(user: &User, name: &str) -> Result<(), ApiError> {
    if user.is(name) { Ok(()) } else { Err(ApiError::forbidden()) }
}

async fn config(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
) -> Result<Json<TokenConfig>, ApiError> {
    if !user.is(&name) {
        return Err(ApiError::not_found());
    }
    let longest = i64::try_from(state.settings.accounts.max_token_lifetime.as_nanos()).unwrap_or(i64::MAX);
    Ok(Json(TokenConfig { max_token_lifetime: longest }))
}

#[derive(Debug, Deserialize)]
struct Filter {
    #[serde(default)]
    include_all: bool,
    #[serde(default)]
    include_expired: bool,
}

/// API tokens; sessions are not among them, as in Coder.
async fn list(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<ApiKey>>, ApiError> {
    let tokens = if filter.include_all && user.is(&name) && user.is_owner() {
        state.store.tokens().list().await?
    } else {
        let owner = target(&user, &state, &name).await?;
        state.store.tokens().of_user(owner.id).await?
    };
    let listed = |token: &TokenInfo| token.kind == "token" && (filter.include_expired || !token.is_expired());
    Ok(Json(tokens.into_iter().filter(listed).map(key).collect()))
}

async fn by_name(
    user: User,
    State(state): State<AppState>,
    Target((name, token)): Target<(String, String)>,
) -> Result<Json<ApiKey>, ApiError> {
    find(&user, &state, &name, |info| !token.is_empty() && info.name == token).await
}

async fn by_id(
    user: User,
    State(state): State<AppState>,
    Target((name, key)): Target<(String, String)>,
) -> Result<Json<ApiKey>, ApiError> {
    find(&user, &state, &name, |info| info.id == id(&key)).await
}

async fn find(
    user: &User,
    state: &AppState,
    name: &str,
    wanted: impl Fn(&TokenInfo) -> bool,
) -> Result<Json<ApiKey>, ApiError> {
    let owner = target(user, state, name).await?;
    let found = state.store.tokens().of_user(owner.id).await?.into_iter().find(wanted);
    found.map(|token| Json(key(token))).ok_or_else(ApiError::not_found)
}

async fn revoke(
    user: User,
    State(state): State<AppState>,
    Target((name, key)): Target<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let owner = target(&user, &state, &name).await?;
    let revoked = state.store.tokens().revoke(id(&key), Some(owner.id), user.actor).await?;
    revoked.then_some(StatusCode::NO_CONTENT).ok_or_else(ApiError::not_found)
}

async fn expire(
    user: User,
    State(state): State<AppState>,
    Target((name, key)): Target<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let owner = target(&user, &state, &name).await?;
    let expired = state.store.tokens().expire(id(&key), owner.id, user.actor).await?;
    expired.then_some(StatusCode::NO_CONTENT).ok_or_else(ApiError::not_found)
}

/// The user whose tokens are asked for: the caller, or for an owner anybody.
async fn target(user: &User, state: &AppState, name: &str) -> Result<rest::User, ApiError> {
    if user.is(name) {
        return Ok(user.session.user.clone());
    }
    let found = if user.is_owner() { state.store.users().find(name).await? } else { None };
    found.ok_or_else(ApiError::not_found)
}

/// The public id of what may be a whole token.
fn id(key: &str) -> &str {
    key.split('-').next().unwrap_or_default()
}

fn key(token: TokenInfo) -> ApiKey {
    ApiKey {
        last_used: token.last_used_at.unwrap_or_else(rest::never),
        // Clients expect a time.
        expires_at: token.expires_at.unwrap_or(Timestamp::MAX),
        created_at: token.created_at,
        updated_at: token.last_used_at.unwrap_or(token.created_at),
        login_type: if token.kind == "session" { "password" } else { "token" }.to_owned(),
        lifetime_seconds: i64::try_from(token.lifetime.as_secs()).unwrap_or(i64::MAX),
        id: token.id,
        user_id: token.user_id,
        username: token.username,
        scope: token.scope,
        token_name: token.name,
    }
}
