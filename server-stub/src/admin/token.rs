//! `coder-server token`

use clap::Subcommand;
use protocol::rest::Scope;

use super::{AdminError, output};
use crate::config::lifetime;
use crate::store::audit::Actor;
use crate::store::{NewToken, Store, TokenInfo, Wanted};

/// Manage session tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create another session token for a user
    #[command(after_help = "\
Scopes:
  secrets     manage secrets; a token of this scope gets no value out of the server
  workspaces  also define workspaces, which receive the values

Examples:
  coder-server token create alice
  coder-server token create alice --scope workspaces --lifetime 8h")]
    Create {
        /// Name or id of the user
        user: String,
        /// What the token may do: secrets or workspaces
        #[arg(long, default_value_t = Scope::Secrets)]
        scope: Scope,
        /// How long the token is valid, such as 90d or 8h, or `never` for no end
        #[arg(long, value_name = "TIME", default_value = "90d")]
        lifetime: String,
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
    /// Revoke a session token, or all those of a user; they stop working immediately
    #[command(after_help = "\
Examples:
  coder-server token revoke k3v5n2xq7a
  coder-server token revoke --user alice")]
    Revoke {
        /// Public id of the token, as coder-server token list prints it
        #[arg(required_unless_present = "user", conflicts_with = "user")]
        id: Option<String>,
        /// Revoke all tokens of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
}

pub(super) async fn run(store: &Store, command: TokenCommand) -> Result<(), AdminError> {
    match command {
        TokenCommand::Create { user, scope, lifetime: time, json } => {
            let lifetime = if time == "never" { None } else { Some(lifetime("--lifetime", &time)?) };
            let user = store.users().require(&user).await?;
            let wanted = Wanted { scope, lifetime, ..Wanted::default() };
            let made = store.tokens().create_with(Actor::Administrator, &user, wanted).await?;
            show(&user.username, &made, json)
        }
        TokenCommand::List { json } => list(store, json).await,
        TokenCommand::Revoke { user: Some(user), .. } => {
            let user = store.users().require(&user).await?;
            let revoked = store.tokens().revoke_all(user.id, Actor::Administrator).await?;
            output::line(&format!("Revoked {revoked} tokens of {}.", user.username))
        }
        TokenCommand::Revoke { id, .. } => {
            let id = id.unwrap_or_default();
            if store.tokens().revoke(&id, None, Actor::Administrator).await? {
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
    let expires = made.expires_at.map_or_else(|| "never".to_owned(), output::local);
    output::line(&format!("user           {username}\nsession token  {token}\nexpires        {expires}"))
}

async fn list(store: &Store, json: bool) -> Result<(), AdminError> {
    let tokens = store.tokens().list().await?;
    if json {
        return output::json(&tokens);
    }
    let row = |token: TokenInfo| {
        let time = |time: Option<jiff::Timestamp>| time.map_or_else(|| "never".to_owned(), output::local);
        vec![
            token.id,
            token.username,
            token.name,
            token.scope,
            output::local(token.created_at),
            time(token.expires_at),
            time(token.last_used_at),
            token.last_used_from.unwrap_or_default(),
        ]
    };
    let head = ["ID", "USER", "NAME", "SCOPE", "CREATED", "EXPIRES", "LAST USED", "FROM"];
    output::table(&head, tokens.into_iter().map(row))
}
