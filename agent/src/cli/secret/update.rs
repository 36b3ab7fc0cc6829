//! `coder secret update`

use std::sync::Arc;

use clap::Args;
use protocol::rest::{UpdateUserSecretRequest, UserSecret};
use protocol::secret::Secret;
use reqwest::Method;

use super::{connect_for, hint_expanded_home, route, value};
use crate::cli::error::CliError;
use crate::cli::server::{self, ServerArgs};
use crate::cli::ui;

/// Change a secret
///
/// What is not given stays as it is; an empty text clears. The change reaches your workspaces when they next start.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Change the value.
  echo -n \"$NEW_API_KEY\" | coder secret update api-key

  # Change the environment variable.
  coder secret update api-key --env NEW_API_KEY

  # Stop writing the file, and keep the secret.
  coder secret update api-key --file \"\"")]
pub(crate) struct UpdateArgs {
    /// Name of the secret
    name: String,

    /// The new value; other users of this machine see a command line, so prefer a pipe or a redirect
    #[arg(long, value_parser = server::secret, allow_hyphen_values = true)]
    value: Option<Arc<Secret>>,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Environment variable that holds it in your workspaces
    #[arg(long, value_name = "NAME")]
    env: Option<String>,

    /// File that holds it in your workspaces; starts with ~/ or /
    #[arg(long, value_name = "PATH")]
    file: Option<String>,

    /// Whether your workspaces get it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enabled: Option<bool>,
}

impl UpdateArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let request = UpdateUserSecretRequest {
            value: value::read(self.value)?,
            description: self.description,
            env_name: self.env,
            file_path: self.file,
            enabled: self.enabled,
        };
        let client = connect_for(server, &self.name).await?;
        hint_expanded_home(request.file_path.as_deref());
        let operation = format!("update secret {:?}", self.name);
        let updated: UserSecret =
            client.send(Method::PATCH, &route(&self.name), &request).await.map_err(CliError::request(operation))?;
        ui::print(&format!("Updated secret {}.", ui::one_line(&updated.name))).map_err(CliError::output)
    }
}
