//! User secrets. No answer holds a value.
//!
//! Nobody acts on another user's secrets, administrators included: what would write is forbidden, all else finds nothing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::problem::Problem;
use protocol::rest::{
    CreateUserSecretRequest, ImportUserSecretsRequest, RollbackUserSecretRequest, SecretVersion,
    UpdateUserSecretRequest, UserSecret,
};
use uuid::Uuid;

use super::{JsonBody, LargeJsonBody, Target};
use crate::api_error::ApiError;
use crate::auth::User;
use crate::state::AppState;
use crate::store::SecretError;

/// The caller, who is also the user of the path; to read or delete.
pub(super) struct Reading(User);

/// The same, to write.
pub(super) struct Writing(User);

mod extract {
    use axum::extract::FromRequestParts;
    use axum::http::request::Parts;

    use super::{ApiError, AppState, Reading, Target, User, Writing};

    #[derive(serde::Deserialize)]
    struct Owner {
        user: String,
    }

    async fn caller(parts: &mut Parts, state: &AppState, refusal: fn() -> ApiError) -> Result<User, ApiError> {
        let user = User::from_request_parts(parts, state).await?;
        let Target(owner) = Target::<Owner>::from_request_parts(parts, state).await?;
        if user.is(&owner.user) { Ok(user) } else { Err(refusal()) }
    }

    impl FromRequestParts<AppState> for Reading {
        type Rejection = ApiError;

        async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
            caller(parts, state, ApiError::not_found).await.map(Self)
        }
    }

    impl FromRequestParts<AppState> for Writing {
        type Rejection = ApiError;

        async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
            caller(parts, state, ApiError::forbidden).await.map(Self)
        }
    }
}

impl Reading {
    fn id(&self) -> Uuid {
        self.0.session.user.id
    }
}

impl Writing {
    fn id(&self) -> Uuid {
        self.0.session.user.id
    }
}

pub(super) async fn list(user: Reading, State(state): State<AppState>) -> Result<Json<Vec<UserSecret>>, ApiError> {
    let secrets = state.store.secrets().list(user.id()).await;
    secrets.map(Json).map_err(|error| ApiError::internal("Internal error listing secrets.", &error))
}

pub(super) async fn get(
    user: Reading,
    Target((_, name)): Target<(String, String)>,
    State(state): State<AppState>,
) -> Result<Json<UserSecret>, ApiError> {
    let found = state.store.secrets().find(user.id(), &name).await;
    let found = found.map_err(|error| ApiError::internal("Internal error fetching secret.", &error))?;
    found.map(Json).ok_or_else(ApiError::not_found)
}

pub(super) async fn create(
    user: Writing,
    State(state): State<AppState>,
    JsonBody(request): JsonBody<CreateUserSecretRequest>,
) -> Result<(StatusCode, Json<UserSecret>), ApiError> {
    let (id, name) = (user.id(), request.name.clone());
    let made = state.store.secrets().create(user.0.actor, id, request, &state.settings.targets).await;
    let made = made.map_err(|error| refusal(error, "Internal error creating secret.").about(name))?;
    Ok((StatusCode::CREATED, Json(made)))
}

pub(super) async fn update(
    user: Writing,
    Target((_, name)): Target<(String, String)>,
    State(state): State<AppState>,
    JsonBody(request): JsonBody<UpdateUserSecretRequest>,
) -> Result<Json<UserSecret>, ApiError> {
    let id = user.id();
    let changed = state
        .store
        .secrets()
        .update(user.0.actor, id, &name, request, &state.settings.targets, state.settings.keep_versions)
        .await;
    changed.map(Json).map_err(|error| refusal(error, "Internal error updating secret."))
}

pub(super) async fn delete(
    user: Reading,
    Target((_, name)): Target<(String, String)>,
    State(state): State<AppState>,
) -> Result<StatusCode, ApiError> {
    let id = user.id();
    let deleted = state.store.secrets().delete(user.0.actor, id, &name).await;
    deleted.map(|()| StatusCode::NO_CONTENT).map_err(|error| refusal(error, "Internal error deleting secret."))
}

pub(super) async fn history(
    user: Reading,
    Target((_, name)): Target<(String, String)>,
    State(state): State<AppState>,
) -> Result<Json<Vec<SecretVersion>>, ApiError> {
    let history = state.store.secrets().history(user.id(), &name).await;
    history.map(Json).map_err(|error| refusal(error, "Internal error reading the history of the secret."))
}

pub(super) async fn rollback(
    user: Writing,
    Target((_, name)): Target<(String, String)>,
    State(state): State<AppState>,
    JsonBody(request): JsonBody<RollbackUserSecretRequest>,
) -> Result<Json<UserSecret>, ApiError> {
    let (id, settings) = (user.id(), &state.settings);
    let changed = state
        .store
        .secrets()
        .rollback(user.0.actor, id, &name, request.to, &settings.targets, settings.keep_versions)
        .await;
    changed.map(Json).map_err(|error| refusal(error, "Internal error updating secret."))
}

pub(super) async fn import(
    user: Writing,
    State(state): State<AppState>,
    LargeJsonBody(request): LargeJsonBody<ImportUserSecretsRequest>,
) -> Result<(StatusCode, Json<Vec<UserSecret>>), ApiError> {
    let id = user.id();
    let made = state.store.secrets().import(user.0.actor, id, request, &state.settings.targets).await;
    let made = made.map_err(|error| refusal(error, "Internal error importing secrets."))?;
    Ok((StatusCode::CREATED, Json(made)))
}

fn no_version(to: Option<i64>) -> Problem {
    let detail = "The server keeps few former values, and not for long; the history of the secret lists them.";
    let message = to.map_or_else(
        || "There is no former value of this secret.".to_owned(),
        |number| format!("There is no former value {number} of this secret."),
    );
    Problem::new(message).detail(detail)
}

fn refusal(error: SecretError, internal: &str) -> ApiError {
    let bad_request = |problem| ApiError::with(StatusCode::BAD_REQUEST, problem);
    let unreadable = |detail: String| bad_request(Problem::new("Failed to parse secrets file.").detail(detail));
    match error {
        SecretError::Invalid(problems) => bad_request(Problem::validation(problems)),
        SecretError::Conflict { message, problems } => {
            let problem = Problem { validations: problems, ..Problem::new(message) };
            ApiError::with(StatusCode::CONFLICT, problem)
        }
        SecretError::Cap(problem) => bad_request(problem),
        SecretError::NoFields => bad_request(Problem::new("At least one field must be provided.")),
        SecretError::NotFound => ApiError::not_found(),
        SecretError::NoVersion(to) => bad_request(no_version(to)),
        SecretError::Format(error) => unreadable(error.to_string()),
        SecretError::Parse(error) => unreadable(error.to_string()),
        SecretError::Store(error) => ApiError::internal(internal, &error),
    }
}
