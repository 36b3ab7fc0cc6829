//! `coder publickey`

use clap::Args;
use protocol::rest::GitSshKey;
use reqwest::Method;

use super::error::CliError;
use super::server::ServerArgs;
use super::ui;
use crate::gitssh::{self, FetchError};

/// Where the public key goes.
pub(super) const WHERE: &str = "\
GitHub: https://github.com/settings/ssh/new
GitLab: https://gitlab.com/-/user_settings/ssh_keys
Others: their page of SSH keys. To have your signatures verified, add it as a signing key as well.";

const ROUTE: [&str; 3] = ["users", "me", "gitsshkey"];

/// Show the public key that git uses in your workspaces
///
/// In a workspace where you are not signed in, its agent's word is taken.
#[derive(Args)]
#[command(after_help = "\
Examples:
  coder publickey

  # A new key; the old one is useless from then on.
  coder publickey --reset

  # Sign commits and tags with this key.
  git config --global gpg.format ssh
  git config --global gpg.ssh.program coder
  git config --global gpg.ssh.defaultKeyCommand 'coder publickey --signing-key'")]
pub(crate) struct PublicKeyArgs {
    /// Make a new key first
    #[arg(long, conflicts_with = "signing_key")]
    reset: bool,

    /// Do not ask before making a new key
    #[arg(long, short)]
    yes: bool,

    /// Print it for git's `gpg.ssh.defaultKeyCommand`: the key that this workspace signs with
    #[arg(long)]
    signing_key: bool,
}

impl PublicKeyArgs {
    pub(crate) async fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        if self.reset {
            return self.reset(args).await;
        }
        // What signs is the key of the workspace's owner, whoever is signed in.
        if self.signing_key {
            let line = match gitssh::fetch(true).await {
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
        let question = "Make a new SSH key? Wherever the old one is registered you have to register the new one.";
        if !self.yes && !ui::confirm(question).map_err(CliError::input)? {
            return Err(CliError::Canceled);
        }
        let operation = CliError::request("make a new SSH key");
        let key: GitSshKey = client.send(Method::PUT, &ROUTE, &serde_json::Map::new()).await.map_err(operation)?;
        ui::print(key.public_key.trim()).map_err(CliError::output)?;
        ui::note(&format!("\nThis is your new public key; the old one is useless now.\n\n{WHERE}"));
        Ok(())
    }
}

async fn of_session(args: &ServerArgs) -> Result<String, CliError> {
    let client = args.connect().await?;
    let key: GitSshKey = client.get(&ROUTE).await.map_err(CliError::request("get your public SSH key"))?;
    Ok(key.public_key.trim().to_owned())
}

/// Outside of a workspace this says that one has to log in.
async fn of_workspace(args: &ServerArgs) -> Result<String, CliError> {
    match gitssh::fetch(true).await {
        Ok(key) => Ok(key.public().line().to_owned()),
        Err(FetchError::NoWorkspace) => of_session(args).await,
        Err(error) => Err(CliError::GitKey(error)),
    }
}
