//! `coder-server workspace`

mod apply;
mod deliveries;
mod show;

use clap::Subcommand;

use apply::ApplyArgs;
pub use apply::DefinitionError;

use super::{AdminError, output};
use crate::store::Store;
use crate::store::audit::Actor;
use crate::store::workspaces::Workspace;
use crate::workspace_json::lifecycle_word;

/// Manage workspaces.
#[derive(Debug, Subcommand)]
pub enum WorkspaceCommand {
    /// Create or update the workspaces that YAML files define, or a Terraform state: all of them or none
    #[command(after_help = "\
Examples:
  coder-server workspace apply dev.yaml
  coder-server workspace apply team/*.yaml
  coder-server workspace apply - --json < dev.yaml | jq -r .workspaces[].agents[].token
  terraform show -json | coder-server workspace apply --terraform - --owner alice")]
    Apply(ApplyArgs),
    /// Show the state of a workspace: connection, scripts, metadata, deliveries and startup log
    #[command(after_help = "\
Examples:
  coder-server workspace show alice/dev")]
    Show {
        /// Owner and name of the workspace
        #[arg(value_name = "OWNER/NAME")]
        workspace: String,
        /// Print JSON, with the whole log
        #[arg(long)]
        json: bool,
    },
    /// List workspaces
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop delivering anything to a workspace, and have its agents take away what they delivered
    ///
    /// From then on no value leaves the server for this workspace. An agent that is connected at once gives new processes no secrets and
    /// deletes the files that are still as it wrote them; one that is away does so when it comes back. `workspace show` says whether each has
    /// confirmed that. Processes that run keep what they have. The token of a Coder agent is refused.
    Revoke {
        /// Owner and name of the workspace
        #[arg(value_name = "OWNER/NAME")]
        workspace: String,
        /// Why, for `workspace show` and the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Deliver to a revoked workspace again
    Restore {
        /// Owner and name of the workspace
        #[arg(value_name = "OWNER/NAME")]
        workspace: String,
    },
    /// Delete a workspace with its agents, their tokens and everything they reported
    Delete {
        /// Owner and name of the workspace
        #[arg(value_name = "OWNER/NAME")]
        workspace: String,
    },
}

pub(super) async fn run(store: &Store, command: WorkspaceCommand) -> Result<(), AdminError> {
    match command {
        WorkspaceCommand::Apply(args) => apply::run(store, args).await,
        WorkspaceCommand::Show { workspace, json } => {
            let found = find(store, &workspace).await?;
            if json { show::json(store, &found).await } else { show::text(store, &found).await }
        }
        WorkspaceCommand::List { json } => list(store, json).await,
        WorkspaceCommand::Revoke { workspace, reason } => {
            let found = find(store, &workspace).await?;
            let path = path(&found);
            if !store.workspaces().revoke(found.id, path.clone(), &reason).await? {
                return output::line(&format!("Workspace {path} is revoked already."));
            }
            output::line(&format!(
                "Revoked workspace {path}. Nothing is delivered to it any more.\n\
                 Whether its agents have taken away what was delivered: coder-server workspace show {path}"
            ))
        }
        WorkspaceCommand::Restore { workspace } => {
            let found = find(store, &workspace).await?;
            let path = path(&found);
            let restored = store.workspaces().restore(found.id, path.clone()).await?;
            let text = if restored { "Restored workspace" } else { "Nothing to do: not revoked: workspace" };
            output::line(&format!("{text} {path}."))
        }
        WorkspaceCommand::Delete { workspace } => {
            let found = find(store, &workspace).await?;
            let path = path(&found);
            store.workspaces().delete(Actor::Administrator, found.id, path.clone()).await?;
            output::line(&format!("Deleted workspace {path}."))
        }
    }
}

async fn find(store: &Store, named: &str) -> Result<Workspace, AdminError> {
    let missing = || AdminError::NoWorkspace(named.to_owned());
    let (owner, name) = named.split_once('/').ok_or_else(missing)?;
    store.workspaces().named(owner, name).await?.ok_or_else(missing)
}

fn path(workspace: &Workspace) -> String {
    format!("{}/{}", workspace.owner_name, workspace.name)
}

async fn list(store: &Store, json: bool) -> Result<(), AdminError> {
    let workspaces = store.workspaces().list().await?;
    if json {
        let mut all = Vec::with_capacity(workspaces.len());
        for workspace in &workspaces {
            all.push(crate::workspace_json::workspace(store, workspace).await?);
        }
        return output::json(&serde_json::json!({ "workspaces": all }));
    }
    let rows = workspaces.iter().flat_map(|workspace| {
        workspace.agents.iter().map(|agent| {
            let seen = agent.presence.map_or_else(|| "never".to_owned(), |seen| output::local(seen.last_connected_at));
            let status = agent.connection().as_str().to_owned();
            vec![path(workspace), agent.name.clone(), status, lifecycle_word(agent.lifecycle), seen]
        })
    });
    output::table(&["WORKSPACE", "AGENT", "STATUS", "LIFECYCLE", "LAST SEEN"], rows)
}
