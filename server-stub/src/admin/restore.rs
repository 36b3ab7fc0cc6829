//! `coder-server restore`

use std::path::PathBuf;

use clap::Args;

use super::{AdminError, output};
use crate::config::{Environment, StoreArgs};
use crate::store::audit::{Actor, Record};
use crate::store::{self, EndedTokens, Store, StoreError};

/// Flags of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// File that the backup command wrote
    file: PathBuf,
    /// Replace even a database that has users; the old database is kept beside the new one
    #[arg(long)]
    force: bool,
    /// Keep every session token and agent token of the backup valid, also those that were revoked since
    #[arg(long)]
    keep_tokens: bool,
}

pub(super) async fn run(args: &RestoreArgs, at: &StoreArgs, environment: Environment<'_>) -> Result<(), AdminError> {
    if at.database_url(environment)?.is_some() {
        let instead = "restore it with pg_restore or psql while no server runs";
        return Err(StoreError::NotAFile { instead }.into());
    }
    let data_dir = at.data_dir()?;
    let keys = || at.key_source(&data_dir, environment);
    store::restore(&args.file, &data_dir, keys()?, args.force).await?;
    let store = Store::open(&data_dir, keys()?).await?;
    let target = args.file.display().to_string();
    store.audit().write(Record::new(Actor::Administrator, "restore", "database").on(None, &target)).await?;
    let ended = if args.keep_tokens { None } else { Some(store.end_tokens().await?) };
    store.close().await;
    output::line(&format!("Restored {} to {}.", args.file.display(), data_dir.path().display()))?;
    output::line(&match ended {
        None => "Its tokens work again, also those that were revoked since the backup.".to_owned(),
        Some(EndedTokens { sessions, agents }) => format!(
            "Ended {sessions} session tokens and {agents} agent tokens, because some may have been revoked since the backup.\n\
             New ones: coder-server token create USER, and coder-server workspace apply FILE for agents.\n\
             To keep those of the backup, restore again with --force --keep-tokens."
        ),
    })
}
