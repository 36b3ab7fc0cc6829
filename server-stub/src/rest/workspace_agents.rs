//! Agents: what their owner reads, and what an agent itself posts.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use jiff::Timestamp;
use protocol::agent_api::log::Level;
use protocol::problem::Problem;
use protocol::rest::{PostLogSourceRequest, WorkspaceAgentLogSource};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{JsonBody, LargeJsonBody, Target, workspaces};
use crate::api_error::ApiError;
use crate::auth::{Agent, User};
use crate::state::AppState;
use crate::store::workspaces::{self as stored, LogError, NewLine};
use crate::workspace_json as shapes;

/// The name and icon of a log source are shown beside every line.
const MAX_LABEL_BYTES: usize = 256;

/// The routes of this file.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/workspaceagents/me/log-source", post(post_log_source))
        .route("/workspaceagents/me/logs", patch(patch_logs))
        .route("/workspaceagents/me/reinit", get(reinit))
        .route("/workspaceagents/{agent}", get(by_id))
        .route("/workspaceagents/{agent}/logs", get(logs))
        .route("/workspaceagents/{agent}/listening-ports", get(listening_ports))
        .route("/workspaceagents/{agent}/containers", get(containers))
}

async fn own_agent(user: &User, state: &AppState, id: Uuid) -> Result<stored::Agent, ApiError> {
    let workspace = workspaces::own(user, state.store.workspaces().of_agent(id).await?)?;
    workspace.agents.into_iter().find(|agent| agent.id == id).ok_or_else(ApiError::not_found)
}

async fn by_id(user: User, State(state): State<AppState>, Target(id): Target<Uuid>) -> Result<Json<Value>, ApiError> {
    let agent = own_agent(&user, &state, id).await?;
    Ok(Json(shapes::agent(&state.store, &agent).await?))
}

/// Nobody looks for ports: agents of this server forward none. `coder show` asks for them.
async fn listening_ports(
    user: User,
    State(state): State<AppState>,
    Target(id): Target<Uuid>,
) -> Result<Json<Value>, ApiError> {
    own_agent(&user, &state, id).await?;
    Ok(Json(json!({ "ports": [] })))
}

/// Nobody looks for containers either.
async fn containers(
    user: User,
    State(state): State<AppState>,
    Target(id): Target<Uuid>,
) -> Result<Json<Value>, ApiError> {
    own_agent(&user, &state, id).await?;
    Ok(Json(json!({ "devcontainers": [], "containers": [], "warnings": [] })))
}

#[derive(Debug, Deserialize)]
struct After {
    #[serde(default)]
    after: i64,
}

async fn logs(
    user: User,
    State(state): State<AppState>,
    Target(id): Target<Uuid>,
    after: Result<Query<After>, QueryRejection>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let wanted = |_| ApiError::new(StatusCode::BAD_REQUEST, "Query parameter \"after\" must be the id of a log line.");
    let Query(After { after }) = after.map_err(wanted)?;
    own_agent(&user, &state, id).await?;
    Ok(Json(state.store.logs().lines(id, after).await?.iter().map(shapes::line).collect()))
}

async fn post_log_source(
    agent: Agent,
    State(state): State<AppState>,
    JsonBody(request): JsonBody<PostLogSourceRequest>,
) -> Result<(StatusCode, Json<WorkspaceAgentLogSource>), ApiError> {
    if request.id.is_nil() || request.display_name.len() > MAX_LABEL_BYTES || request.icon.len() > MAX_LABEL_BYTES {
        let detail = format!("An id, and at most {MAX_LABEL_BYTES} bytes of display_name and of icon.");
        return Err(ApiError::with(StatusCode::BAD_REQUEST, Problem::new("Not a log source.").detail(detail)));
    }
    let source = state.store.logs().post_source(agent.identity.id, request).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(source)))
}

/// The deprecated twin of `BatchCreateLogs`.
#[derive(Debug, Deserialize)]
struct PatchLogs {
    log_source_id: Uuid,
    logs: Vec<PatchLine>,
}

#[derive(Debug, Deserialize)]
struct PatchLine {
    created_at: Timestamp,
    output: String,
    level: PatchLevel,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PatchLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<PatchLevel> for Level {
    fn from(level: PatchLevel) -> Self {
        match level {
            PatchLevel::Trace => Self::Trace,
            PatchLevel::Debug => Self::Debug,
            PatchLevel::Info => Self::Info,
            PatchLevel::Warn => Self::Warn,
            PatchLevel::Error => Self::Error,
        }
    }
}

async fn patch_logs(
    agent: Agent,
    State(state): State<AppState>,
    LargeJsonBody(request): LargeJsonBody<PatchLogs>,
) -> Result<Json<Problem>, ApiError> {
    if request.logs.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "No logs provided."));
    }
    let line = |line: PatchLine| NewLine {
        created_at: line.created_at,
        level: Level::from(line.level).into(),
        output: line.output,
    };
    let lines = request.logs.into_iter().map(line).collect();
    if state.store.logs().append(agent.identity.id, request.log_source_id, lines).await.map_err(refused)? {
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Logs limit exceeded"));
    }
    Ok(Json(Problem::new("Agent logs sent successfully.")))
}

fn refused(error: LogError) -> ApiError {
    match error {
        LogError::Store(error) => error.into(),
        refused => ApiError::new(StatusCode::BAD_REQUEST, refused.to_string()),
    }
}

/// Agents ask whether their workspace was a prebuilt one that has found its owner. There are none here: 409 ends the asking.
async fn reinit(_agent: Agent) -> ApiError {
    let detail = "This workspace was not prebuilt; there is nothing to wait for.";
    ApiError::with(StatusCode::CONFLICT, Problem::new("Workspace is not a prebuilt workspace.").detail(detail))
}
