//! Definitions of workspaces: what their owner applies, rotates, deletes and reveals. A token needs the scope `workspaces`, because a workspace
//! receives the values of its owner's secrets.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use protocol::definitions::{Applied, AppliedAgent, ApplyRequest, Revealed};
use protocol::problem::{FieldProblem, Problem};
use serde_json::Value;
use uuid::Uuid;

use super::{LargeJsonBody, Target};
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;
use crate::store::workspaces::{Application, ApplyError, Workspace};
use crate::workspace_json as shapes;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/definitions", post(apply))
        .route("/definitions/{owner}/{name}", delete(remove))
        .route("/definitions/{owner}/{name}/rotate-tokens", post(rotate))
        .route("/definitions/{owner}/{name}/metadata/{item}/reveal", post(reveal))
        .route("/workspacebuilds/{build}", get(build))
        .route("/workspacebuilds/{build}/resources", get(resources))
}

async fn apply(
    user: User,
    State(state): State<AppState>,
    LargeJsonBody(request): LargeJsonBody<ApplyRequest>,
) -> Result<Json<Applied>, ApiError> {
    user.require_workspaces()?;
    let how = Application {
        owner: Some(user.session.user.username.clone()),
        dry_run: request.dry_run,
        most: Some(state.settings.accounts.max_workspaces),
        actor: user.actor,
        rotate_tokens: false,
    };
    let workspaces =
        state.store.workspaces().apply_all(request.definitions, how).await.map_err(|error| refusal(&error))?;
    Ok(Json(Applied { workspaces }))
}

fn refusal(error: &ApplyError) -> ApiError {
    let status = match error {
        ApplyError::Store(_) | ApplyError::Rehearsed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ApplyError::TokenOfAnother { .. } | ApplyError::TokenTaken { .. } => StatusCode::CONFLICT,
        ApplyError::TooMany { .. } | ApplyError::OtherOwner { .. } => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        return ApiError::internal("Internal error applying definitions.", error);
    }
    let field = error.index().map(|index| FieldProblem::new(format!("definitions[{index}]"), error.to_string()));
    let problem = Problem { validations: field.into_iter().collect(), ..Problem::new("Invalid definition.") };
    ApiError::with(status, problem)
}

/// The caller's workspace of a path.
async fn own(user: &User, state: &AppState, (owner, name): (&str, &str)) -> Result<Workspace, ApiError> {
    if !user.is(owner) {
        return Err(ApiError::not_found());
    }
    let found = state.store.workspaces().named(&user.session.user.username, name).await?;
    found.ok_or_else(ApiError::not_found)
}

/// Its owner deletes a workspace, or an administrator.
async fn remove(
    user: User,
    State(state): State<AppState>,
    Target((owner, name)): Target<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let workspace = if user.is(&owner) || !user.is_owner() {
        user.require_workspaces()?;
        own(&user, &state, (&owner, &name)).await?
    } else {
        state.store.workspaces().named(&owner, &name).await?.ok_or_else(ApiError::not_found)?
    };
    let path = format!("{}/{}", workspace.owner_name, workspace.name);
    let deleted = state.store.workspaces().delete(user.actor, workspace.id, path).await?;
    deleted.then_some(StatusCode::NO_CONTENT).ok_or_else(ApiError::not_found)
}

async fn rotate(
    user: User,
    State(state): State<AppState>,
    Target((owner, name)): Target<(String, String)>,
) -> Result<Json<Vec<AppliedAgent>>, ApiError> {
    user.require_workspaces()?;
    let workspace = own(&user, &state, (&owner, &name)).await?;
    let agents = state.store.agents().rotate_tokens(user.actor, &workspace).await?;
    Ok(Json(agents))
}

async fn reveal(
    user: User,
    State(state): State<AppState>,
    Target((owner, name, item)): Target<(String, String, Uuid)>,
) -> Result<Json<Revealed>, ApiError> {
    user.require_workspaces()?;
    let workspace = own(&user, &state, (&owner, &name)).await?;
    let found = state.store.workspaces().reveal(user.actor, workspace.id, item).await?;
    found.map(Json).ok_or_else(ApiError::not_found)
}

async fn of_build(user: &User, state: &AppState, build: Uuid) -> Result<Value, ApiError> {
    let found = state.store.workspaces().of_build(build).await?;
    let found = found.filter(|found| found.owner_id == user.session.user.id || user.is_auditor());
    Ok(shapes::build(&state.store, &found.ok_or_else(ApiError::not_found)?).await?)
}

async fn build(user: User, State(state): State<AppState>, Target(id): Target<Uuid>) -> Result<Json<Value>, ApiError> {
    of_build(&user, &state, id).await.map(Json)
}

async fn resources(
    user: User,
    State(state): State<AppState>,
    Target(id): Target<Uuid>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(of_build(&user, &state, id).await?["resources"].take()))
}
