//! Users, as far as a command line needs them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::problem::Problem;
use protocol::rest;

use super::Target;
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;

/// Tells a client that logs in whether there is anybody to log in as.
pub(super) async fn first(State(state): State<AppState>) -> Result<Json<Problem>, ApiError> {
    if state.store.users().any().await? {
        return Ok(Json(Problem::new("The initial user has already been created!")));
    }
    let problem = Problem::new("The initial user has not been created!").detail("Run: coder-server user create NAME");
    Err(ApiError::with(StatusCode::NOT_FOUND, problem))
}

pub(super) async fn get(user: User, Target(name): Target<String>) -> Result<Json<rest::User>, ApiError> {
    if user.is(&name) { Ok(Json(user.session.user)) } else { Err(ApiError::not_found()) }
}

/// Makes the presented token useless.
pub(super) async fn logout(user: User, State(state): State<AppState>) -> Result<Json<Problem>, ApiError> {
    state.store.tokens().revoke(&user.session.token_id, user.actor).await?;
    Ok(Json(Problem::new("Logged out!")))
}
