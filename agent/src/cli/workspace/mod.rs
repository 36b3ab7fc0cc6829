//! `coder workspace`

mod apply;
mod manage;
mod read;
mod show;
mod terraform_env;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::server::ServerArgs;

/// Define your workspaces, from YAML or from a Terraform state
///
/// A workspace receives the values of your secrets, so defining one takes a token of scope workspaces: coder login --scope
/// workspaces.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Create or update the workspace that a file defines.
  coder workspace apply dev.yaml

  # Make a workspace from what Terraform made.
  eval \"$(coder workspace terraform-env dev)\"
  terraform apply && terraform show -json | coder workspace apply --terraform -

  # Show a workspace, and one of the values that its template displays.
  coder workspace show dev --reveal twilio_iam_api_key.api_key/Password")]
pub(crate) struct WorkspaceArgs {
    #[command(subcommand)]
    command: WorkspaceCommand,
}

#[derive(Subcommand)]
enum WorkspaceCommand {
    Apply(apply::ApplyArgs),
    #[command(visible_alias = "ls")]
    List(show::ListArgs),
    Show(show::ShowArgs),
    #[command(visible_alias = "rm")]
    Delete(manage::DeleteArgs),
    RotateToken(manage::RotateArgs),
    TerraformEnv(terraform_env::TerraformEnvArgs),
}

impl WorkspaceArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        match self.command {
            WorkspaceCommand::Apply(args) => args.run(server).await,
            WorkspaceCommand::List(args) => args.run(server).await,
            WorkspaceCommand::Show(args) => args.run(server).await,
            WorkspaceCommand::Delete(args) => args.run(server).await,
            WorkspaceCommand::RotateToken(args) => args.run(server).await,
            WorkspaceCommand::TerraformEnv(args) => args.run(server).await,
        }
    }
}

/// `OWNER/NAME` or the name of an own workspace, as segments of a route. A name that is no segment would reach another route.
fn path(named: &str) -> Result<(&str, &str), CliError> {
    let (owner, name) = named.split_once('/').unwrap_or(("me", named));
    let legal = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if legal(owner) && legal(name) {
        return Ok((owner, name));
    }
    Err(CliError::Usage(format!("{named:?} is no name of a workspace: letters and digits, with hyphens between them")))
}
