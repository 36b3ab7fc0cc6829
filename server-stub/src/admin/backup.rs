//! `coder-server backup`

use std::path::PathBuf;

use clap::Args;

use super::{AdminError, output};
use crate::store::{KeyId, Store};

/// Flags of `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// File to create
    file: PathBuf,
}

pub(super) async fn run(store: &Store, args: &BackupArgs) -> Result<(), AdminError> {
    let keys = store.backup(&args.file).await?;
    let keys: Vec<String> = keys.iter().map(KeyId::to_string).collect();
    output::line(&format!("Wrote {}.", args.file.display()))?;
    output::line(&format!(
        "It holds no key. To use it you need key {}, now in {}: keep that in another place.",
        keys.join(", "),
        store.keys().source()
    ))
}
