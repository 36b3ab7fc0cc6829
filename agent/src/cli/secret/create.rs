//! `coder secret create`

use std::sync::Arc;

use clap::Args;
use protocol::rest::{CreateUserSecretRequest, UserSecret};
use protocol::secret::Secret;
use reqwest::Method;

use super::{hint_expanded_home, value};
use crate::cli::error::CliError;
use crate::cli::server::{self, ServerArgs};
use crate::cli::ui;

/// Store a new secret
///
/// Give the value through a pipe or a redirect: it is taken as it is, a trailing newline included. The secret reaches your
/// workspaces when they next start. Without --env and --file it is stored and not injected.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # An environment variable.
  echo -n \"$API_KEY\" | coder secret create api-key \\
    --description \"API key for workspace tools\" \\
    --env API_KEY

  # A file. Quote the ~, so that it means the home directory of the workspace.
  coder secret create tool-config \\
    --description \"Tool configuration\" \\
    --file '~/.config/tool/config.json' \\
    < ./tool-config.json

  # Both.
  echo -n \"$TOKEN\" | coder secret create service-token \\
    --env SERVICE_TOKEN \\
    --file '~/.config/service/token'")]
pub(crate) struct CreateArgs {
    /// Name of the secret, to manage it by; it cannot be changed
    name: String,

    /// The value; other users of this machine see a command line, so prefer a pipe or a redirect
    #[arg(long, value_parser = server::secret, allow_hyphen_values = true)]
    value: Option<Arc<Secret>>,

    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// Environment variable that holds it in your workspaces
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    env: String,

    /// File that holds it in your workspaces; starts with ~/ or /
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    file: String,

    /// Whether your workspaces get it [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enabled: Option<bool>,
}

impl CreateArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let request = CreateUserSecretRequest {
            value: value::require(self.value)?,
            name: self.name,
            description: self.description,
            env_name: self.env,
            file_path: self.file,
            enabled: self.enabled,
        };
        let client = server.connect().await?;
        hint_expanded_home(Some(&request.file_path));
        let operation = format!("create secret {:?}", request.name);
        let created: UserSecret =
            client.send(Method::POST, &super::ROUTE, &request).await.map_err(CliError::request(operation))?;
        ui::print(&format!("Created secret {}.", ui::one_line(&created.name))).map_err(CliError::output)?;
        if created.env_name.is_empty() && created.file_path.is_empty() {
            ui::note("It is stored, and not injected into workspaces until it has an environment variable or a file:");
            ui::note("coder secret update <name> --env <ENV_NAME>");
        }
        Ok(())
    }
}
