//! The REST API: one file a resource.

mod body;
mod deployment;
mod error;
mod git_keys;
mod observe;
mod secrets;
#[cfg(test)]
mod tests;
mod users;
mod workspace_agents;
mod workspaces;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use tower_http::catch_panic::CatchPanicLayer;

pub use body::{JsonBody, LargeJsonBody};
pub use error::ApiError;

use crate::rpc;
use crate::serve::AppState;

/// All routes, with what surrounds every one of them.
pub fn router(state: AppState) -> Router {
    let api = Router::new()
        .route("/buildinfo", get(deployment::build_info))
        .route("/deployment/user-secrets/capabilities", get(deployment::user_secrets_capabilities))
        .route("/users/first", get(users::first))
        .route("/users/logout", post(users::logout))
        .route("/users/{user}", get(users::get))
        .route("/users/{user}/gitsshkey", get(git_keys::get).put(git_keys::regenerate))
        .route("/workspaceagents/me/gitsshkey", get(git_keys::deliver))
        .route("/users/{user}/secrets", get(secrets::list).post(secrets::create))
        .route("/users/{user}/secrets/batch", post(secrets::import))
        .route("/users/{user}/secrets/{name}", get(secrets::get).patch(secrets::update).delete(secrets::delete))
        .merge(workspaces::routes())
        .merge(workspace_agents::routes())
        .merge(rpc::routes());
    surround(Router::new().nest("/api/v2", api).route("/healthz", get(async || "OK")), state)
}

fn surround(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "Route not found."))
        .method_not_allowed_fallback(async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed."))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

/// Path parameters, refused with a JSON body.
pub struct Target<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Target<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Path::from_request_parts(parts, state).await.map(|Path(target)| Self(target)).map_err(|_| ApiError::not_found())
    }
}
