//! `coder secret update`

use std::sync::Arc;

use clap::Args;
use protocol::rest::{ChangedSecret, UpdateUserSecretRequest};
use protocol::secret::Secret;
use reqwest::Method;

use super::value::{self, Given, ValueError};
use super::{advice, connect_for, failure, report, route};
use crate::cli::client::{Changed, Client};
use crate::cli::error::CliError;
use crate::cli::server::{self, ServerArgs};
use crate::cli::ui;

/// Change a secret
///
/// Omitted options keep their current value; an empty string clears the field. Without any option, at a terminal, this
/// asks for a new value. Running workspaces get the change at once if their server is `coder-server`; what is started from
/// then on has it. With Coder's server they get it within minutes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Change the value.
  echo -n \"$NEW_API_KEY\" | coder secret update api-key

  # Change the environment variable.
  coder secret update api-key --env NEW_API_KEY

  # Keep the secret, but stop writing it to a file.
  coder secret update api-key --file \"\"")]
pub(crate) struct UpdateArgs {
    /// Name of the secret
    name: String,

    /// New value. Other users of this machine can see command lines, so prefer a pipe or a redirect
    #[arg(long, value_parser = server::secret, allow_hyphen_values = true)]
    value: Option<Arc<Secret>>,

    /// Describe what the secret is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Set this environment variable to the value in your workspaces
    #[arg(long, value_name = "NAME")]
    env: Option<String>,

    /// Write the value to this file in your workspaces. The path starts with ~/ or /
    #[arg(long, value_name = "PATH")]
    file: Option<String>,

    /// Delete the former values that the server keeps for `rollback`, as after a leak; alone, or with a new value
    #[arg(long)]
    forget_old: bool,

    /// Whether your workspaces get the secret
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enabled: Option<bool>,
}

impl UpdateArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let given = value::read(self.value)?;
        let mut request = UpdateUserSecretRequest {
            value: None,
            description: self.description,
            env_name: self.env,
            file_path: self.file,
            enabled: self.enabled,
            forget_old: self.forget_old,
        };
        // With an option given, an empty standard input is that of a script which does not want to change the value.
        let value_alone = request.is_empty();
        let client = match given {
            Given::EmptyInput if value_alone => return Err(ValueError::EmptyInput.into()),
            Given::Value(value) => {
                request.value = Some(value);
                connect_for(server, &self.name).await?
            }
            Given::Terminal if value_alone => {
                let client = connect_for(server, &self.name).await?;
                request.value = Some(value::ask(&self.name)?);
                client
            }
            Given::Terminal | Given::EmptyInput | Given::Nothing => connect_for(server, &self.name).await?,
        };
        let file = request.file_path.as_deref();
        advice::about_targets(request.env_name.as_deref().unwrap_or_default(), file.unwrap_or_default());
        // Without --file the secret may have one already.
        if let Some(value) = request.value.as_ref().filter(|_| file != Some("")) {
            advice::about_file_content(value);
        }
        update(&client, &self.name, &request).await
    }
}

async fn update(client: &Client, name: &str, request: &UpdateUserSecretRequest) -> Result<(), CliError> {
    let operation = format!("update secret {name:?}");
    let disables = request.enabled == Some(false);
    let alone = request.enabled.is_some() && !changes_more(request);
    if disables && !alone {
        refuse_if_always_enabled(client, &operation, name).await?;
    }
    let updated: Changed<ChangedSecret> = match client.change(Method::PATCH, &route(name), Some(request)).await {
        Ok(updated) => updated,
        Err(error) => {
            let unsupported = alone.then(|| failure::without_enabled(&operation, client, &error)).flatten();
            return Err(unsupported.unwrap_or_else(|| failure::change(operation, name, "changed")(error)));
        }
    };
    if disables && updated.answer().is_some_and(|answer| answer.is_enabled() == Some(true)) {
        return Err(failure::always_enabled(&operation, client, "the secret is still delivered"));
    }
    report(&format!("Updated secret {}.", ui::one_line(name)), &updated)
}

/// Whether a request changes anything besides `enabled`.
fn changes_more(request: &UpdateUserSecretRequest) -> bool {
    let texts = [&request.description, &request.env_name, &request.file_path];
    request.value.is_some() || texts.iter().any(|text| text.is_some())
}

/// An older server would change the rest, ignore `enabled`, and call that a success.
async fn refuse_if_always_enabled(client: &Client, operation: &str, name: &str) -> Result<(), CliError> {
    let found: serde_json::Value = client.get(&route(name)).await.map_err(failure::read(operation))?;
    match found.get("enabled") {
        Some(_) => Ok(()),
        None => Err(failure::always_enabled(operation, client, "nothing was changed")),
    }
}
