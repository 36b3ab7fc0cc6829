//! What the deployment is and can.

use axum::Json;
use axum::extract::State;
use protocol::rest::{BuildInfo, UserSecretsCapabilities};

use crate::auth::User;
use crate::state::AppState;

/// Semantic version with a leading `v`.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

pub(super) async fn build_info(State(state): State<AppState>) -> Json<BuildInfo> {
    Json(BuildInfo {
        external_url: state.settings.access_url.clone(),
        version: VERSION.into(),
        dashboard_url: state.settings.access_url.clone(),
        telemetry: false,
        workspace_proxy: false,
        agent_api_version: "1.0".into(),
        provisioner_api_version: "1.0".into(),
        upgrade_message: String::new(),
        deployment_id: state.deployment_id.to_string(),
    })
}

pub(super) async fn user_secrets_capabilities(_: User, State(state): State<AppState>) -> Json<UserSecretsCapabilities> {
    Json(UserSecretsCapabilities { file_path_delivery_enabled: state.settings.file_paths })
}
