//! `coder secret`

mod advice;
mod create;
mod delete;
mod enable;
mod failure;
mod history;
mod import;
mod list;
mod update;
mod value;

use clap::{Args, Subcommand};

use super::client::{Changed, Client};
use super::error::CliError;
use super::server::ServerArgs;
use super::ui;
pub(crate) use list::names;

/// Store, change, list and delete your secrets
///
/// A secret has a name, a value and a target: an environment variable, a file, or both. Every workspace that you own gets
/// your secrets when it starts, and changes while it runs. No command shows the value of a stored secret.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Deliver a secret as an environment variable.
  echo -n \"$API_KEY\" | coder secret create api-key --env API_KEY

  # Deliver a secret as a file.
  coder secret create tool-config --file '~/.config/tool/config.json' < ./tool-config.json

  # Store every secret of a file.
  coder secret import .env

  # List your secrets.
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
    History(history::HistoryArgs),
    Rollback(history::RollbackArgs),
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
            SecretCommand::History(args) => args.run(server).await,
            SecretCommand::Rollback(args) => args.run(server).await,
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

/// Says on stdout that a change was made. An answer that cannot be read does not unmake it.
fn report<T>(done: &str, changed: &Changed<T>) -> Result<(), CliError> {
    ui::print(done).map_err(CliError::output)?;
    if let Some(fault) = changed.fault() {
        let fault = ui::printable(fault);
        ui::warn(&format!("the change was stored, but the server's answer could not be read: {fault}"));
    }
    Ok(())
}
