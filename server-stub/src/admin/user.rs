//! `coder-server user`

use clap::Subcommand;

use super::{AdminError, output};
use crate::store::Store;

/// Manage users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user and a session token for them
    Create {
        /// 1 to 32 letters and digits, single hyphens between them
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(store: &Store, command: UserCommand) -> Result<(), AdminError> {
    let UserCommand::Create { name, json } = command;
    let user = store.create_user(&name).await?;
    let made = store.create_token(&user).await?;
    super::token::show(&user.username, &made, json)?;
    if json { Ok(()) } else { output::line("\nIt is shown this once. Log in with: coder login URL") }
}
