//! `coder publickey`

use clap::Args;
use protocol::rest::GitSshKey;
use reqwest::Method;

use super::client::{Changed, ClientError};
use super::error::CliError;
use super::server::ServerArgs;
use super::ui;
use crate::gitssh::{self, FetchError};
use crate::sessions::client::Client;

/// Where the public key goes.
pub(super) const WHERE: &str = "\
GitHub: https://github.com/settings/ssh/new
GitLab: https://gitlab.com/-/user_settings/ssh_keys
Others: the page of SSH keys. To have your signatures verified, add it as a signing key, too.";

const ROUTE: [&str; 3] = ["users", "me", "gitsshkey"];

/// Show the public key that git uses in your workspaces
///
/// The key comes from the server that you are signed in to. In a workspace without a sign-in, it comes from the agent.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Show the key, for the settings of your git host.
  coder publickey

  # Make a new key. The old one stops working at once.
  coder publickey --reset

  # Sign commits and tags with this key.
  git config --global gpg.format ssh
  git config --global gpg.ssh.program coder
  git config --global gpg.ssh.defaultKeyCommand 'coder publickey --signing-key'")]
pub(crate) struct PublicKeyArgs {
    /// Replace the key with a new one first
    #[arg(long, conflicts_with = "signing_key")]
    reset: bool,

    /// Make the new key without asking
    #[arg(long, short)]
    yes: bool,

    /// Print the key that this workspace signs with, for git's `gpg.ssh.defaultKeyCommand`
    #[arg(long)]
    signing_key: bool,
}

impl PublicKeyArgs {
    pub(crate) async fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        if self.reset {
            return self.reset(args).await;
        }
        // Signatures are made with the key of the workspace's owner, whoever is signed in.
        if self.signing_key {
            let line = match gitssh::fetch(Client::new(ui::waiting), true).await {
                Ok(key) => key.public().line().to_owned(),
                Err(FetchError::NoWorkspace) => of_session(args).await?,
                Err(error) => return Err(CliError::GitKey(error)),
            };
            return ui::print(&format!("key::{line}")).map_err(CliError::output);
        }
        let line = if args.is_signed_in() { of_session(args).await? } else { of_workspace(args).await? };
        ui::print(&line).map_err(CliError::output)?;
        ui::note(&format!("\nThis is your public key. Paste it into the settings of your git host.\n\n{WHERE}"));
        Ok(())
    }

    async fn reset(self, args: &ServerArgs) -> Result<(), CliError> {
        let client = args.connect().await?;
        let question = "Make a new SSH key? You have to register it wherever the old one is registered.";
        if !self.yes && !ui::confirm(question).map_err(CliError::input)? {
            return Err(CliError::Canceled);
        }
        let failed = |error: ClientError| {
            let perhaps = "The key may have been replaced all the same. Look with: coder publickey";
            let hint = error.may_be_done().then(|| perhaps.to_owned());
            CliError::Change { operation: "make a new SSH key".into(), hint, source: Box::new(error) }
        };
        let body = serde_json::Map::new();
        let key: Changed<GitSshKey> = client.change(Method::PUT, &ROUTE, Some(&body)).await.map_err(failed)?;
        let Some(key) = key.answer() else {
            return ui::print("The key was replaced. Show the new one with: coder publickey").map_err(CliError::output);
        };
        ui::print(key.public_key.trim()).map_err(CliError::output)?;
        ui::note(&format!("\nThis is your new public key. The old one no longer works.\n\n{WHERE}"));
        Ok(())
    }
}

async fn of_session(args: &ServerArgs) -> Result<String, CliError> {
    let client = args.connect().await?;
    let key: GitSshKey = client.get(&ROUTE).await.map_err(CliError::request("get your public SSH key"))?;
    Ok(key.public_key.trim().to_owned())
}

/// The key of the workspace's owner. Outside of a workspace the error says that there is no sign-in.
async fn of_workspace(args: &ServerArgs) -> Result<String, CliError> {
    match gitssh::fetch(Client::new(ui::waiting), true).await {
        Ok(key) => Ok(key.public().line().to_owned()),
        Err(FetchError::NoWorkspace) => of_session(args).await,
        Err(error) => Err(CliError::GitKey(error)),
    }
}
