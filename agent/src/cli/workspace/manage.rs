//! `coder workspace delete` and `coder workspace rotate-token`

use clap::Args;
use protocol::definitions::AppliedAgent;
use reqwest::Method;

use super::path;
use crate::cli::client::{Changed, ClientError};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Delete a workspace with its agents, their tokens and everything they reported
///
/// What was delivered to the machine stays there.
#[derive(Args)]
pub(super) struct DeleteArgs {
    /// Name of the workspace; an administrator says OWNER/NAME
    name: String,

    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
}

impl DeleteArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let (owner, name) = path(&self.name)?;
        let client = server.connect().await?;
        if !self.yes && !ui::confirm(&format!("Delete workspace {}?", self.name)).map_err(CliError::input)? {
            return Err(CliError::Canceled);
        }
        let operation = format!("delete workspace {:?}", self.name);
        client.delete(&["definitions", owner, name]).await.map_err(failed(operation))?;
        ui::print(&format!("Deleted workspace {}.", self.name)).map_err(CliError::output)
    }
}

/// Give the agents of a workspace new tokens; the old ones stop working immediately
#[derive(Args)]
pub(super) struct RotateArgs {
    /// Name of the workspace
    name: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RotateArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let (owner, name) = path(&self.name)?;
        let client = server.connect().await?;
        let operation = format!("rotate the tokens of workspace {:?}", self.name);
        let route = ["definitions", owner, name, "rotate-tokens"];
        let body = serde_json::Map::new();
        let rotated: Changed<Vec<AppliedAgent>> =
            client.change(Method::POST, &route, Some(&body)).await.map_err(failed(operation.clone()))?;
        let Changed::Answered(agents) = rotated else {
            let reason = "the server's answer could not be read; rotate again".to_owned();
            return Err(CliError::Unsupported { operation, reason });
        };
        if self.json {
            let text = serde_json::to_string_pretty(&agents).map_err(|error| CliError::output(error.into()))?;
            return ui::print(&text).map_err(CliError::output);
        }
        for agent in &agents {
            let token = agent.token.as_ref().and_then(|token| token.expose_str().ok()).unwrap_or_default();
            ui::print(&format!("{}  {token}", ui::one_line(&agent.name))).map_err(CliError::output)?;
        }
        ui::note("\nTokens are shown this once. The old ones no longer work.");
        Ok(())
    }
}

fn failed(operation: String) -> impl FnOnce(ClientError) -> CliError {
    move |error| {
        let hint = Some("List your workspaces with: coder workspace list".to_owned());
        CliError::Change { operation, hint, source: Box::new(error) }
    }
}
