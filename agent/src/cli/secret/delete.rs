//! `coder secret delete`

use clap::Args;
use jiff::Zoned;

use super::{connect_for, failure, route};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Delete a secret
///
/// What is started in your workspaces from now on does not get the secret, and the server deletes its former values. Running
/// processes keep the value, and files that were written stay, unless the agent has `--stale-files remove`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Ask before deleting.
  coder secret delete api-key

  # Do not ask, as in a script.
  coder secret delete api-key --yes")]
pub(crate) struct DeleteArgs {
    /// Name of the secret
    name: String,

    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
}

impl DeleteArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let client = connect_for(server, &self.name).await?;
        if !self.yes && !ui::confirm(&format!("Delete secret {}?", self.name)).map_err(CliError::input)? {
            return Err(CliError::Canceled);
        }
        let operation = format!("delete secret {:?}", self.name);
        client.delete(&route(&self.name)).await.map_err(failure::change(operation, &self.name, "deleted"))?;
        let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
        ui::print(&format!("Deleted secret {} at {now}.", ui::one_line(&self.name))).map_err(CliError::output)
    }
}
