//! `coder-server user`

use clap::Subcommand;

use super::{AdminError, output};
use crate::config::{self, Environment};
use crate::store::{Algorithm, Store};

/// Manage users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create a user, and a session token for them
    #[command(after_help = "\
Examples:
  coder-server user create alice
  coder-server user create alice --json | jq -r .session_token")]
    Create {
        /// Name of the user: 1 to 32 letters and digits, with single hyphens between them
        name: String,
        /// Generate the user's git key for this algorithm: ed25519 or ecdsa (P-256) [default: ed25519]
        #[arg(long, value_name = "NAME", env = "CODER_SERVER_SSH_KEYGEN_ALGORITHM")]
        ssh_keygen_algorithm: Option<Algorithm>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(store: &Store, command: UserCommand, environment: Environment<'_>) -> Result<(), AdminError> {
    let UserCommand::Create { name, ssh_keygen_algorithm, json } = command;
    let algorithm = config::git_keys(ssh_keygen_algorithm, environment)?;
    let user = store.users().create_with(&name, algorithm).await?;
    let made = store.tokens().create(&user).await?;
    super::token::show(&user.username, &made, json)?;
    if json { Ok(()) } else { output::line("\nIt is shown this once. Log in with: coder login URL") }
}
