//! `coder secret enable` and `coder secret disable`

use clap::Args;
use protocol::rest::{ChangedSecret, UpdateUserSecretRequest};
use reqwest::Method;

use super::{connect_for, failure, report, route};
use crate::cli::client::Changed;
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Deliver a disabled secret to your workspaces again
///
/// Your running workspaces get the secret at once: files, and whatever is started from then on.
#[derive(Args)]
#[command(after_help = "Examples:\n  coder secret enable api-key")]
pub(crate) struct EnableArgs {
    /// Name of the secret
    name: String,
}

/// Stop delivering a secret without deleting it
///
/// Running workspaces keep the secret until they start again. Files that were written stay.
#[derive(Args)]
#[command(after_help = "Examples:\n  coder secret disable api-key")]
pub(crate) struct DisableArgs {
    /// Name of the secret
    name: String,
}

impl EnableArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        set(server, &self.name, true).await
    }
}

impl DisableArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        set(server, &self.name, false).await
    }
}

async fn set(server: &ServerArgs, name: &str, enabled: bool) -> Result<(), CliError> {
    let client = connect_for(server, name).await?;
    let request = UpdateUserSecretRequest { enabled: Some(enabled), ..UpdateUserSecretRequest::default() };
    let (operation, done) = if enabled { ("enable", "Enabled") } else { ("disable", "Disabled") };
    let operation = format!("{operation} secret {name:?}");
    let updated: Changed<ChangedSecret> = match client.change(Method::PATCH, &route(name), Some(&request)).await {
        Ok(updated) => updated,
        Err(error) => {
            let unsupported = failure::without_enabled(&operation, &client, &error);
            let done = done.to_ascii_lowercase();
            return Err(unsupported.unwrap_or_else(|| failure::change(operation, name, &done)(error)));
        }
    };
    if updated.answer().is_some_and(|answer| answer.is_enabled() == Some(!enabled)) {
        return Err(failure::always_enabled(&operation, &client, "nothing was changed"));
    }
    report(&format!("{done} secret {}.", ui::one_line(name)), &updated)
}
