//! `coder secret create`

use std::sync::Arc;

use clap::Args;
use protocol::rest::{ChangedSecret, CreateUserSecretRequest};
use protocol::rules;
use protocol::secret::Secret;
use reqwest::Method;

use super::value::{self, Given, ValueError};
use super::{ROUTE, advice, failure, report, route};
use crate::cli::client::{Changed, Client};
use crate::cli::error::CliError;
use crate::cli::server::{self, ServerArgs};
use crate::cli::ui;

/// Store a new secret
///
/// Pipe the value in, redirect it from a file, or type it when asked. The value is stored byte for byte, with a newline at
/// its end if it has one. Your running workspaces get the secret at once. A secret without --env and --file is
/// stored, but no workspace gets it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Ask for the value, and deliver it as an environment variable.
  coder secret create api-key --env API_KEY

  # Take the value from a variable, as scripts do.
  echo -n \"$API_KEY\" | coder secret create api-key \\
    --description \"API key for workspace tools\" \\
    --env API_KEY

  # Deliver a file. Quote the ~, so that it means the home
  # directory of the workspace.
  coder secret create tool-config \\
    --description \"Tool configuration\" \\
    --file '~/.config/tool/config.json' \\
    < ./tool-config.json

  # Deliver both.
  echo -n \"$TOKEN\" | coder secret create service-token \\
    --env SERVICE_TOKEN \\
    --file '~/.config/service/token'")]
pub(crate) struct CreateArgs {
    /// Name of the secret, which identifies it; the name cannot be changed later
    name: String,

    /// Value of the secret. Other users of this machine can see command lines, so prefer a pipe or a redirect
    #[arg(long, value_parser = server::secret, allow_hyphen_values = true)]
    value: Option<Arc<Secret>>,

    /// Describe what the secret is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,

    /// Set this environment variable to the value in your workspaces
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    env: String,

    /// Write the value to this file in your workspaces. The path starts with ~/ or /
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    file: String,

    /// Whether your workspaces get the secret [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enabled: Option<bool>,
}

impl CreateArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let given = value::read(self.value)?;
        let mut request = CreateUserSecretRequest {
            value: Secret::default(),
            name: self.name,
            description: self.description,
            env_name: self.env,
            file_path: self.file,
            enabled: self.enabled,
        };
        let client = match given {
            Given::Value(value) if value.is_empty() => return Err(ValueError::EmptyFlag.into()),
            Given::EmptyInput => return Err(ValueError::EmptyInput.into()),
            Given::Nothing => return Err(ValueError::None.into()),
            Given::Value(value) => {
                request.value = value;
                server.connect().await?
            }
            // Nobody should type a value for a request that will be refused.
            Given::Terminal => {
                check_before_asking(&request)?;
                let client = server.connect().await?;
                request.value = value::ask(&request.name)?;
                client
            }
        };
        advice::about_targets(&request.env_name, &request.file_path);
        if !request.file_path.is_empty() {
            advice::about_file_content(&request.value);
        }
        create(&client, &request).await
    }
}

fn check_before_asking(request: &CreateUserSecretRequest) -> Result<(), CliError> {
    let checks = [rules::name(&request.name), rules::env_name(&request.env_name), rules::file_path(&request.file_path)];
    checks.into_iter().try_for_each(|check| check.map_err(CliError::Usage))
}

async fn create(client: &Client, request: &CreateUserSecretRequest) -> Result<(), CliError> {
    let operation = format!("create secret {:?}", request.name);
    let disabled = request.enabled == Some(false);
    if disabled {
        refuse_if_always_enabled(client, &operation).await?;
    }
    let failed = failure::change(operation.clone(), &request.name, "stored");
    let created: Changed<ChangedSecret> = client.change(Method::POST, &ROUTE, Some(request)).await.map_err(failed)?;
    if disabled && is_enabled(client, &created, &request.name).await {
        return Err(undo(client, &operation, &request.name).await);
    }
    report(&format!("Created secret {}.", ui::one_line(&request.name)), &created)?;
    if request.env_name.is_empty() && request.file_path.is_empty() {
        let name = failure::shell_word(&request.name);
        ui::note("It is stored, and not injected into workspaces until it has an environment variable or a file:");
        ui::note(&ui::printable(&format!("coder secret update {name} --env <ENV_NAME>")));
    }
    Ok(())
}

/// A server of before disabled secrets would store this one enabled, and a workspace that starts right then would get it.
/// The secrets that are there tell such a server; where there is none, [`undo`] has to do.
async fn refuse_if_always_enabled(client: &Client, operation: &str) -> Result<(), CliError> {
    let listed: Vec<serde_json::Value> = client.get(&ROUTE).await.map_err(failure::read(operation))?;
    if listed.iter().any(|secret| secret.get("enabled").is_none()) {
        return Err(failure::always_enabled(operation, client, "nothing was stored"));
    }
    Ok(())
}

/// Whether the new secret is delivered although it was to be disabled.
async fn is_enabled(client: &Client, created: &Changed<ChangedSecret>, name: &str) -> bool {
    match created.answer() {
        Some(answer) => answer.is_enabled() == Some(true),
        None => client.get::<ChangedSecret>(&route(name)).await.is_ok_and(|found| found.is_enabled() == Some(true)),
    }
}

async fn undo(client: &Client, operation: &str, name: &str) -> CliError {
    if client.delete(&route(name)).await.is_ok() {
        return failure::always_enabled(operation, client, "the secret was deleted again");
    }
    let name = failure::shell_word(name);
    let so = format!("the secret is stored ENABLED; delete it with: coder secret delete {name}");
    failure::always_enabled(operation, client, &so)
}
