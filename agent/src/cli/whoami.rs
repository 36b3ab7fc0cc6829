//! `coder whoami`

use clap::Args;
use protocol::rest::User;

use super::error::CliError;
use super::server::ServerArgs;
use super::ui;

/// Show where and as whom you are signed in
#[derive(Args)]
pub(crate) struct WhoamiArgs {}

impl WhoamiArgs {
    pub(crate) async fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        let Self {} = self;
        let client = args.connect().await?;
        let user: User = client.get(&["users", "me"]).await.map_err(CliError::request("get user \"me\""))?;
        ui::print(&format!("You are signed in to {} as {}.", client.server(), user.username)).map_err(CliError::output)
    }
}
