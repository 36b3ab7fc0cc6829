//! `coder-server user`

use clap::Subcommand;
use protocol::rest::{Role, User};

use super::{AdminError, output};
use crate::config::{self, Environment};
use crate::store::audit::Actor;
use crate::store::{Algorithm, Store};

/// Manage users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create a user, and a session token for them; the first user is an owner
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
    /// List users with their role and status
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let nobody in as this user: end their sessions, refuse their tokens and the agents of their workspaces
    #[command(after_help = "\
Nothing is deleted. To undo it: coder-server user activate NAME")]
    Suspend {
        /// Name or id of the user
        user: String,
    },
    /// Let a suspended user in again; they have to sign in anew
    Activate {
        /// Name or id of the user
        user: String,
    },
    /// Delete a user with their secrets, keys and tokens; audit records stay
    Delete {
        /// Name or id of the user
        user: String,
        /// Also delete their workspaces; without this, a user who has workspaces is not deleted
        #[arg(long)]
        with_workspaces: bool,
    },
    /// Give a user a role
    #[command(after_help = "\
Roles:
  member   manages their own secrets and workspaces
  auditor  also reads the audit log, and lists users and workspaces
  owner    also manages users, and lists, shows and deletes workspaces

No role reads the values of others.

Examples:
  coder-server user role alice owner")]
    Role {
        /// Name or id of the user
        user: String,
        /// member, auditor or owner
        role: Role,
    },
}

pub(super) async fn run(store: &Store, command: UserCommand, environment: Environment<'_>) -> Result<(), AdminError> {
    let require = async |user: &str| store.users().require(user).await;
    match command {
        UserCommand::Create { name, ssh_keygen_algorithm, json } => {
            create(store, &name, config::git_keys(ssh_keygen_algorithm, environment)?, json).await
        }
        UserCommand::List { json } => list(store, json).await,
        UserCommand::Suspend { user } => {
            let user = require(&user).await?;
            let user = store.accounts().suspend(Actor::Administrator, user.id).await?;
            output::line(&format!("Suspended {}. Their sessions have ended.", user.username))
        }
        UserCommand::Activate { user } => {
            let user = require(&user).await?;
            let user = store.accounts().activate(Actor::Administrator, user.id).await?;
            output::line(&format!("{} may sign in again.", user.username))
        }
        UserCommand::Delete { user, with_workspaces } => {
            let user = require(&user).await?;
            store.accounts().delete(Actor::Administrator, user.id, with_workspaces).await?;
            output::line(&format!("Deleted {}.", user.username))
        }
        UserCommand::Role { user, role } => {
            let user = require(&user).await?;
            let user = store.accounts().set_role(Actor::Administrator, user.id, role).await?;
            output::line(&format!("{} has the role {role}.", user.username))
        }
    }
}

async fn create(store: &Store, name: &str, algorithm: Algorithm, json: bool) -> Result<(), AdminError> {
    let user = store.users().create_with(name, algorithm).await?;
    let made = store.tokens().create(&user).await?;
    super::token::show(&user.username, &made, json)?;
    if json { Ok(()) } else { output::line("\nIt is shown this once. Log in with: coder login URL") }
}

async fn list(store: &Store, json: bool) -> Result<(), AdminError> {
    let users = store.users().list().await?;
    if json {
        return output::json(&users);
    }
    let role = |user: &User| user.roles.first().map_or("member", |role| role.name.as_str()).to_owned();
    let row = |user: User| {
        let role = role(&user);
        vec![user.username, role, user.status, output::local(user.created_at)]
    };
    output::table(&["USER", "ROLE", "STATUS", "CREATED"], users.into_iter().map(row))
}
