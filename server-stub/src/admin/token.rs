//! `coder-server token`

use clap::Subcommand;

use super::{AdminError, output};
use crate::store::audit::Actor;
use crate::store::{NewToken, Store};

/// Manage session tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create another session token for a user
    Create {
        /// Name or id of the user
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List session tokens by their public ids
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a session token; it stops working immediately
    Revoke {
        /// Public id of the token, as coder-server token list prints it
        id: String,
    },
}

pub(super) async fn run(store: &Store, command: TokenCommand) -> Result<(), AdminError> {
    match command {
        TokenCommand::Create { user, json } => {
            let user = store.users().require(&user).await?;
            show(&user.username, &store.tokens().create(&user).await?, json)
        }
        TokenCommand::List { json } => list(store, json).await,
        TokenCommand::Revoke { id } => {
            if store.tokens().revoke(&id, Actor::Administrator).await? {
                output::line(&format!("Revoked token {id}."))
            } else {
                Err(AdminError::NoToken(id))
            }
        }
    }
}

/// The one place that prints a token.
pub(super) fn show(username: &str, made: &NewToken, json: bool) -> Result<(), AdminError> {
    let token = made.token.expose_str().unwrap_or_default();
    if json {
        return output::json(&serde_json::json!({ "username": username, "session_token": token }));
    }
    output::line(&format!("user           {username}\nsession token  {token}"))
}

async fn list(store: &Store, json: bool) -> Result<(), AdminError> {
    let tokens = store.tokens().list().await?;
    if json {
        return output::json(&tokens);
    }
    let row = |token: crate::store::TokenInfo| {
        let used = token.last_used_at.map_or_else(|| "never".to_owned(), output::local);
        vec![token.id, token.username, output::local(token.created_at), used, token.last_used_from.unwrap_or_default()]
    };
    output::table(&["ID", "USER", "CREATED", "LAST USED", "FROM"], tokens.into_iter().map(row))
}
