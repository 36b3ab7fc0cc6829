//! Workspaces, for their owner; lists and states also for auditors and administrators.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Target;
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;
use crate::store::workspaces::Workspace;
use crate::workspace_json as json;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/workspaces", get(list))
        .route("/workspaces/{workspace}", get(by_id))
        .route("/users/{user}/workspace/{name}", get(by_name))
}

/// `q=owner:NAME`, as Coder's command line asks; `owner:me` if absent.
#[derive(Debug, Default, Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    limit: usize,
}

async fn list(
    user: User,
    State(state): State<AppState>,
    Query(search): Query<Search>,
) -> Result<Json<Value>, ApiError> {
    let owner = search.q.split_whitespace().find_map(|term| term.strip_prefix("owner:"));
    let found = match owner {
        None => state.store.workspaces().of_owner(user.session.user.id).await?,
        Some(name) if user.is(name) => state.store.workspaces().of_owner(user.session.user.id).await?,
        Some("*") if user.is_auditor() => state.store.workspaces().list().await?,
        Some(name) if user.is_auditor() => match state.store.users().find(name).await? {
            Some(owner) => state.store.workspaces().of_owner(owner.id).await?,
            None => Vec::new(),
        },
        Some(_) => Vec::new(),
    };
    let limit = if search.limit == 0 { usize::MAX } else { search.limit };
    let mut workspaces = Vec::new();
    for workspace in found.iter().skip(search.offset).take(limit) {
        workspaces.push(json::workspace(&state.store, workspace).await?);
    }
    Ok(Json(json!({ "count": found.len(), "workspaces": workspaces })))
}

async fn by_id(user: User, State(state): State<AppState>, Target(id): Target<Uuid>) -> Result<Json<Value>, ApiError> {
    let found = state.store.workspaces().find(id).await?;
    show(&state, visible(&user, found)?).await
}

async fn by_name(
    user: User,
    State(state): State<AppState>,
    Target((owner, name)): Target<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let owner = if user.is(&owner) { &user.session.user.username } else { &owner };
    let found = state.store.workspaces().named(owner, &name).await?;
    show(&state, visible(&user, found)?).await
}

async fn show(state: &AppState, workspace: Workspace) -> Result<Json<Value>, ApiError> {
    Ok(Json(json::workspace(&state.store, &workspace).await?))
}

/// To auditors and administrators it is shown as well: it has no value of a secret in it.
fn visible(user: &User, found: Option<Workspace>) -> Result<Workspace, ApiError> {
    if user.is_auditor() { found.ok_or_else(ApiError::not_found) } else { own(user, found) }
}

/// Somebody else's workspace is as good as none.
pub(super) fn own(user: &User, found: Option<Workspace>) -> Result<Workspace, ApiError> {
    found.filter(|workspace| workspace.owner_id == user.session.user.id).ok_or_else(ApiError::not_found)
}
