//! What the deployment is and can.

use axum::Json;
use axum::extract::State;
use protocol::rest::{BuildInfo, UserSecretsCapabilities};

use crate::auth::User;
use crate::state::AppState;

/// The version in Coder's terms: the newest Coder whose API this server speaks, with our own version as build metadata.
///
/// Coder's command line compares major and minor with its own, and tells its user to download another one where they differ.
pub(crate) const VERSION: &str = concat!("v2.36.0+coder-server.", env!("CARGO_PKG_VERSION"));

/// Coder's command line prints this in place of its own advice, which would be to download a Coder of the server's version.
const UPGRADE_MESSAGE: &str = concat!(
    "This server is coder-server ",
    env!("CARGO_PKG_VERSION"),
    ", not Coder: it keeps user secrets and speaks that part of the API of Coder 2.36. There is nothing to upgrade."
);

pub(super) async fn build_info(State(state): State<AppState>) -> Json<BuildInfo> {
    Json(BuildInfo {
        external_url: state.settings.access_url.clone(),
        version: VERSION.into(),
        dashboard_url: state.settings.access_url.clone(),
        telemetry: false,
        workspace_proxy: false,
        agent_api_version: "1.0".into(),
        provisioner_api_version: "1.0".into(),
        upgrade_message: UPGRADE_MESSAGE.into(),
        deployment_id: state.deployment_id.to_string(),
    })
}

pub(super) async fn user_secrets_capabilities(_: User, State(state): State<AppState>) -> Json<UserSecretsCapabilities> {
    Json(UserSecretsCapabilities { file_path_delivery_enabled: state.settings.targets.has_files() })
}
