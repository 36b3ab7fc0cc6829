//! The REST API: one file a resource.

mod body;
mod definitions;
mod deployment;
mod git_keys;
mod secrets;
mod tokens;
mod users;
mod workspace_agents;
mod workspaces;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

pub use body::{JsonBody, LargeJsonBody, OptionalJsonBody};
pub(crate) use deployment::VERSION;

use crate::api_error::ApiError;
use crate::state::AppState;

/// The routes below `/api/v2`, without those of agents that speak the Agent API.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/buildinfo", get(deployment::build_info))
        .route("/deployment/user-secrets/capabilities", get(deployment::user_secrets_capabilities))
        .route("/users/{user}/gitsshkey", get(git_keys::get).put(git_keys::regenerate))
        .route("/workspaceagents/me/gitsshkey", get(git_keys::deliver))
        .route("/users/{user}/secrets", get(secrets::list).post(secrets::create))
        .route("/users/{user}/secrets/batch", post(secrets::import))
        .route("/users/{user}/secrets/{name}", get(secrets::get).patch(secrets::update).delete(secrets::delete))
        .route("/users/{user}/secrets/{name}/history", get(secrets::history))
        .route("/users/{user}/secrets/{name}/rollback", post(secrets::rollback))
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(definitions::routes())
        .merge(workspaces::routes())
        .merge(workspace_agents::routes())
}

/// Path parameters, refused with a JSON body.
pub struct Target<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Target<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, state).await.map(|Path(target)| Self(target)).map_err(|_| ApiError::not_found())
    }
}
