//! Workspaces, for their owner.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
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

async fn list(user: User, State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let mut workspaces = Vec::new();
    for workspace in state.store.workspaces().of_owner(user.session.user.id).await? {
        workspaces.push(json::workspace(&state.store, &workspace).await?);
    }
    Ok(Json(json!({ "count": workspaces.len(), "workspaces": workspaces })))
}

async fn by_id(user: User, State(state): State<AppState>, Target(id): Target<Uuid>) -> Result<Json<Value>, ApiError> {
    let found = state.store.workspaces().find(id).await?;
    show(&user, &state, found).await
}

async fn by_name(
    user: User,
    State(state): State<AppState>,
    Target((owner, name)): Target<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    if !user.is(&owner) {
        return Err(ApiError::not_found());
    }
    let found = state.store.workspaces().named(&user.session.user.username, &name).await?;
    show(&user, &state, found).await
}

async fn show(user: &User, state: &AppState, found: Option<Workspace>) -> Result<Json<Value>, ApiError> {
    let workspace = own(user, found)?;
    Ok(Json(json::workspace(&state.store, &workspace).await?))
}

/// Somebody else's workspace is as good as none.
pub(super) fn own(user: &User, found: Option<Workspace>) -> Result<Workspace, ApiError> {
    found.filter(|workspace| workspace.owner_id == user.session.user.id).ok_or_else(ApiError::not_found)
}
