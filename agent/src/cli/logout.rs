//! `coder logout`

use clap::Args;
use protocol::problem::Problem;
use reqwest::Method;

use super::client::Changed;
use super::error::CliError;
use super::server::ServerArgs;
use super::ui;
use crate::errors::chain;

/// Sign out
///
/// This revokes the session token on the server and removes it from this machine. If the server cannot be reached, the
/// token is removed all the same.
#[derive(Args)]
pub(crate) struct LogoutArgs {}

impl LogoutArgs {
    pub(crate) async fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        let Self {} = self;
        let kept = revoke(args).await;
        let forgotten = args.config_dir()?.forget().map_err(CliError::Store)?;
        if let Some(why) = kept.filter(|_| forgotten) {
            ui::warn(&format!(
                "the session token is still valid on the server: {}. Revoke it there with: coder tokens remove",
                ui::printable(&why)
            ));
        }
        let text = if forgotten { "You are no longer signed in." } else { "You were not signed in." };
        ui::print(text).map_err(CliError::output)
    }
}

/// Revokes the token of the sign-in. Why the server still takes it, if it does.
async fn revoke(args: &ServerArgs) -> Option<String> {
    let client = match args.connect_saved().await {
        Ok(client) => client?,
        Err(error) => return Some(chain(&error)),
    };
    let done: Result<Changed<Problem>, _> =
        client.change(Method::POST, &["users", "logout"], Some(&serde_json::Map::new())).await;
    match done {
        Ok(_) => None,
        // It was not valid any more.
        Err(error) if error.status() == Some(reqwest::StatusCode::UNAUTHORIZED) => None,
        Err(error) => Some(chain(&error)),
    }
}
