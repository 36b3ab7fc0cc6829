//! `coder secret`

mod create;
mod delete;
mod enable;
pub(crate) mod import;
mod list;
mod update;
pub(crate) mod value;

use std::path::Path;

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::server::ServerArgs;
use super::ui;
use crate::sys::users;

/// Store, change, list and delete your secrets
///
/// A secret has a name, a value, and where your workspaces get it: an environment variable, a file, or both. It reaches
/// every workspace you own when that workspace starts. No command ever shows a value again.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # An environment variable.
  echo -n \"$API_KEY\" | coder secret create api-key --env API_KEY

  # A file.
  coder secret create tool-config --file '~/.config/tool/config.json' < ./tool-config.json

  # Several at once.
  coder secret import .env

  # What there is.
  coder secret list")]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Subcommand)]
enum SecretCommand {
    Create(create::CreateArgs),
    Update(update::UpdateArgs),
    Import(import::ImportArgs),
    Enable(enable::EnableArgs),
    Disable(enable::DisableArgs),
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    #[command(visible_aliases = ["remove", "rm"])]
    Delete(delete::DeleteArgs),
}

impl SecretArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        match self.command {
            SecretCommand::Create(args) => args.run(server).await,
            SecretCommand::Update(args) => args.run(server).await,
            SecretCommand::Import(args) => args.run(server).await,
            SecretCommand::Enable(args) => args.run(server).await,
            SecretCommand::Disable(args) => args.run(server).await,
            SecretCommand::List(args) => args.run(server).await,
            SecretCommand::Delete(args) => args.run(server).await,
        }
    }
}

/// The route of all secrets of the caller.
const ROUTE: [&str; 3] = ["users", "me", "secrets"];

/// The route of one secret.
fn route(name: &str) -> [&str; 4] {
    let [users, me, secrets] = ROUTE;
    [users, me, secrets, name]
}

/// Connects for a command about the secret `name`. A name that is no segment of an address would reach another route:
/// `..` the list, an empty one as well.
async fn connect_for(server: &ServerArgs, name: &str) -> Result<Client, CliError> {
    protocol::rules::name(name).map_err(CliError::Usage)?;
    Ok(server.connect().await?)
}

/// Tells users whose shell has expanded `~` that the path now names a home on this machine.
fn hint_expanded_home(file_path: Option<&str>) {
    let home = users::own_home();
    if let (Some(path), Some(home)) = (file_path, home)
        && let Some(below) = below_home(path, &home)
    {
        ui::warn(&format!("--file {path} lies in the home directory of this machine, not of the workspace"));
        ui::note(&format!("If the shell expanded ~, quote it: --file '~/{below}'"));
    }
}

fn below_home<'a>(path: &'a str, home: &Path) -> Option<&'a str> {
    let below = Path::new(path).strip_prefix(home).ok()?.to_str()?;
    (home != Path::new("/") && !below.is_empty()).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_this_home_is_noticed() {
        let home = Path::new("/home/alice");
        assert_eq!(below_home("/home/alice/.ssh/key", home), Some(".ssh/key"));
        for other in ["~/.ssh/key", "/home/alice", "/home/alice/", "/home/alicette/x", "/etc/x", ""] {
            assert_eq!(below_home(other, home), None, "{other:?}");
        }
        assert_eq!(below_home("/etc/x", Path::new("/")), None);
    }
}
