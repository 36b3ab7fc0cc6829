//! `coder workspace terraform-env`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use protocol::rest::User;
use protocol::terraform;
use serde_json::Value;

use super::{path, read};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// The provider keeps the token of a running agent in a variable of this name; the end is the SHA-256 of nothing, which
/// stands for "whichever agent".
const RUNNING_TOKEN: &str =
    "CODER_RUNNING_WORKSPACE_AGENT_TOKEN_e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Print the variables that Terraform's coder/coder provider reads, for `eval`
///
/// The template then makes a workspace of this name, as it would on Coder. No private key, no session token and no
/// secret of yours is among them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  eval \"$(coder workspace terraform-env dev)\"
  terraform apply
  terraform show -json | coder workspace apply --terraform -

  # Keep the agent's token at a later apply: the provider draws a new one at each, which replaces the machine.
  eval \"$(coder workspace terraform-env dev --state terraform.tfstate)\"

  # Stop the workspace: the template makes no agent.
  eval \"$(coder workspace terraform-env dev --transition stop)\"")]
pub(super) struct TerraformEnvArgs {
    /// Name of the workspace, which need not exist yet
    name: String,

    /// Whether the template starts or stops the workspace
    #[arg(long, value_enum, default_value_t = Transition::Start)]
    transition: Transition,

    /// Keep the token of the agent in this state: a state file, or the output of `terraform show -json`
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transition {
    Start,
    Stop,
}

impl TerraformEnvArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let (owner, name) = path(&self.name)?;
        let token = self.state.as_deref().map(kept_token).transpose()?.flatten();
        let client = server.connect().await?;
        let user: User = client.get(&["users", "me"]).await.map_err(CliError::request("get user \"me\""))?;
        if owner != "me" && owner != user.username {
            return Err(CliError::Usage(format!("{owner} is another user: give the name of a workspace of yours")));
        }
        // One that does not exist yet gets its id at its first apply.
        let found: Option<Value> = client.get(&["users", "me", "workspace", name]).await.ok();
        let id = found.and_then(|found| found["id"].as_str().map(str::to_owned));
        let transition = if self.transition == Transition::Start { "start" } else { "stop" };
        let (user_id, server) = (user.id.to_string(), client.server());
        let mut variables = vec![
            ("CODER_AGENT_URL", server.as_str()),
            ("CODER_WORKSPACE_TRANSITION", transition),
            ("CODER_WORKSPACE_NAME", name),
            ("CODER_WORKSPACE_OWNER", &user.username),
            ("CODER_WORKSPACE_OWNER_NAME", &user.username),
            ("CODER_WORKSPACE_OWNER_ID", &user_id),
            ("CODER_WORKSPACE_OWNER_GROUPS", "[]"),
        ];
        variables.extend(id.as_deref().map(|id| ("CODER_WORKSPACE_ID", id)));
        let text = token.as_ref().and_then(|token| token.expose_str().ok());
        variables.extend(text.map(|token| (RUNNING_TOKEN, token)));
        let mut lines = String::new();
        for (name, value) in variables {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "export {name}={}", quoted(value));
        }
        ui::print(lines.trim_end()).map_err(CliError::output)
    }
}

/// The token of the only agent of a state. With several the provider has one variable for all, which would give them the same.
fn kept_token(path: &Path) -> Result<Option<protocol::secret::Secret>, CliError> {
    let shown = path.display();
    let bytes = read::bytes(path, terraform::MAX_BYTES)
        .map_err(|error| CliError::Usage(format!("cannot read {shown}: {error}")))?;
    let mut state = terraform::read(&bytes).map_err(|error| CliError::Usage(format!("{shown}: {error}")))?;
    match state.agents.len() {
        1 => Ok(state.agents.remove(0).token),
        0 => Ok(None),
        several => {
            ui::warn(&format!(
                "{shown} has {several} agents: each apply gives them new tokens, and replaces their machines"
            ));
            Ok(None)
        }
    }
}

/// For a POSIX shell.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_quoted_for_the_shell() {
        assert_eq!(quoted("a b$c"), "'a b$c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
