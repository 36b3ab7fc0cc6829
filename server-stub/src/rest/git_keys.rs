//! The SSH key of a user, for git: its public part for the user, both for the agents of their workspaces.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::rest::{AgentGitSshKey, GitSshKey};

use super::Target;
use crate::api_error::ApiError;
use crate::auth::{Agent, User};
use crate::state::AppState;
use crate::store::GitKeyError;

pub(super) async fn get(
    user: User,
    Target(name): Target<String>,
    State(state): State<AppState>,
) -> Result<Json<GitSshKey>, ApiError> {
    if !user.is(&name) {
        return Err(ApiError::not_found());
    }
    let key = state.store.git_keys().public(user.actor, user.session.user.id, state.settings.git_keys).await;
    key.map(Json).map_err(|error| failed(&error, "Internal error fetching the SSH key."))
}

/// A new pair in place of the old one.
pub(super) async fn regenerate(
    user: User,
    Target(name): Target<String>,
    State(state): State<AppState>,
) -> Result<Json<GitSshKey>, ApiError> {
    if !user.is(&name) {
        return Err(ApiError::forbidden());
    }
    let key = state.store.git_keys().regenerate(user.actor, user.session.user.id, state.settings.git_keys).await;
    key.map(Json).map_err(|error| failed(&error, "Internal error regenerating the SSH key."))
}

pub(super) async fn deliver(agent: Agent, State(state): State<AppState>) -> Result<Json<AgentGitSshKey>, ApiError> {
    if !agent.identity.user_data {
        let message = "The template gives this agent no data of its user (api_key_scope = no_user_data).";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    let key = state.store.git_keys().deliver(agent.actor, agent.identity.owner_id, state.settings.git_keys).await;
    key.map(Json).map_err(|error| failed(&error, "Internal error fetching the SSH key."))
}

fn failed(error: &GitKeyError, message: &str) -> ApiError {
    ApiError::internal(message, error)
}
