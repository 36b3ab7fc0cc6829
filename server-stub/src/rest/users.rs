//! Users: everybody sees themselves, auditors see everybody, and owners manage them.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use protocol::problem::{FieldProblem, Problem};
use protocol::rest::{self, Role, UpdateRolesRequest, Users};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{JsonBody, Target};
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;
use crate::store::AccountError;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/users", get(list))
        .route("/users/first", get(first))
        .route("/users/logout", post(logout))
        .route("/users/{user}", get(by_name).delete(delete))
        .route("/users/{user}/status/suspend", put(suspend))
        .route("/users/{user}/status/activate", put(activate))
        .route("/users/{user}/roles", get(roles).put(set_roles))
}

/// Tells a client that logs in whether there is anybody to log in as.
async fn first(State(state): State<AppState>) -> Result<Json<Problem>, ApiError> {
    if state.store.users().any().await? {
        return Ok(Json(Problem::new("The initial user has already been created!")));
    }
    let problem = Problem::new("The initial user has not been created!").detail("Run: coder-server user create NAME");
    Err(ApiError::with(StatusCode::NOT_FOUND, problem))
}

async fn list(user: User, State(state): State<AppState>) -> Result<Json<Users>, ApiError> {
    if !user.is_auditor() {
        let detail = "You need the role owner or auditor for this.";
        return Err(ApiError::with(StatusCode::FORBIDDEN, Problem::new("Forbidden.").detail(detail)));
    }
    let users = state.store.users().list().await?;
    Ok(Json(Users { count: users.len(), users }))
}

async fn by_name(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
) -> Result<Json<rest::User>, ApiError> {
    visible(&user, &state, &name).await.map(Json)
}

/// The user of a path, if the caller may know of them.
async fn visible(user: &User, state: &AppState, name: &str) -> Result<rest::User, ApiError> {
    if user.is(name) {
        return Ok(user.session.user.clone());
    }
    let found = if user.is_auditor() { state.store.users().find(name).await? } else { None };
    found.ok_or_else(ApiError::not_found)
}

/// The user of a path whom an administrator is about to change.
async fn managed(user: &User, state: &AppState, name: &str) -> Result<rest::User, ApiError> {
    user.require_owner()?;
    visible(user, state, name).await
}

/// Makes the presented token useless.
async fn logout(user: User, State(state): State<AppState>) -> Result<Json<Problem>, ApiError> {
    state.store.tokens().revoke(&user.session.token_id, None, user.actor).await?;
    Ok(Json(Problem::new("Logged out!")))
}

async fn suspend(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
) -> Result<Json<rest::User>, ApiError> {
    let target = managed(&user, &state, &name).await?;
    if user.is(&name) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "You cannot suspend yourself."));
    }
    state.store.accounts().suspend(user.actor, target.id).await.map(Json).map_err(refusal)
}

async fn activate(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
) -> Result<Json<rest::User>, ApiError> {
    let target = managed(&user, &state, &name).await?;
    state.store.accounts().activate(user.actor, target.id).await.map(Json).map_err(refusal)
}

async fn roles(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
) -> Result<Json<Value>, ApiError> {
    let names: Vec<_> = visible(&user, &state, &name).await?.roles.into_iter().map(|role| role.name).collect();
    Ok(Json(json!({ "roles": names, "organization_roles": {} })))
}

async fn set_roles(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
    JsonBody(request): JsonBody<UpdateRolesRequest>,
) -> Result<Json<rest::User>, ApiError> {
    let target = managed(&user, &state, &name).await?;
    if user.is(&name) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "You cannot change your own roles."));
    }
    let role = role_of(&request)?;
    state.store.accounts().set_role(user.actor, target.id, role).await.map(Json).map_err(refusal)
}

/// The one role of a request: an owner may do what an auditor may.
fn role_of(request: &UpdateRolesRequest) -> Result<Role, ApiError> {
    let parsed: Result<Vec<Role>, _> = request.roles.iter().map(|role| role.parse()).collect();
    let roles = parsed.map_err(|error| {
        let problem = FieldProblem::new("roles", error.to_string());
        ApiError::with(StatusCode::BAD_REQUEST, Problem::validation(vec![problem]))
    })?;
    let highest = [Role::Owner, Role::Auditor].into_iter().find(|role| roles.contains(role));
    Ok(highest.unwrap_or_default())
}

#[derive(Debug, Deserialize)]
struct Deletion {
    #[serde(default)]
    with_workspaces: bool,
}

async fn delete(
    user: User,
    State(state): State<AppState>,
    Target(name): Target<String>,
    Query(deletion): Query<Deletion>,
) -> Result<Json<Problem>, ApiError> {
    let target = managed(&user, &state, &name).await?;
    if user.is(&name) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "You cannot delete yourself!"));
    }
    let deleted = state.store.accounts().delete(user.actor, target.id, deletion.with_workspaces).await;
    deleted.map(|()| Json(Problem::new("User has been deleted!"))).map_err(refusal)
}

fn refusal(error: AccountError) -> ApiError {
    match error {
        AccountError::Unknown => ApiError::not_found(),
        AccountError::LastOwner(_) => ApiError::new(StatusCode::BAD_REQUEST, sentence(&error)),
        // As in Coder.
        AccountError::Workspaces { .. } => ApiError::new(StatusCode::EXPECTATION_FAILED, sentence(&error)),
        AccountError::Store(error) => error.into(),
    }
}

fn sentence(error: &AccountError) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
