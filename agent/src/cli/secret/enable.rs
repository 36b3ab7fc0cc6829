//! `coder secret enable` and `coder secret disable`

use clap::Args;
use protocol::rest::{UpdateUserSecretRequest, UserSecret};
use reqwest::Method;

use super::{connect_for, route};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Deliver a secret to your workspaces again
#[derive(Args)]
pub(crate) struct EnableArgs {
    /// Name of the secret
    name: String,
}

/// Keep a secret, and deliver it no more
///
/// Workspaces that run keep what they have until they start again.
#[derive(Args)]
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
    let updated: UserSecret =
        client.send(Method::PATCH, &route(name), &request).await.map_err(CliError::request(operation))?;
    ui::print(&format!("{done} secret {}.", ui::one_line(&updated.name))).map_err(CliError::output)
}
