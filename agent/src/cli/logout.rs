//! `coder logout`

use clap::Args;

use super::error::CliError;
use super::server::ServerArgs;
use super::ui;

/// Sign out
///
/// This removes the session token from this machine. On the server the token stays valid until it is revoked.
#[derive(Args)]
pub(crate) struct LogoutArgs {}

impl LogoutArgs {
    pub(crate) fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        let Self {} = self;
        let forgotten = args.config_dir()?.forget().map_err(CliError::Store)?;
        let text = if forgotten { "You are no longer signed in." } else { "You were not signed in." };
        ui::print(text).map_err(CliError::output)
    }
}
