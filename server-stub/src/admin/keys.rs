//! `coder-server keys`

use clap::Subcommand;

use super::{AdminError, output};
use crate::store::{DataDir, KeyId, Store};

/// Manage encryption keys.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeysCommand {
    /// Re-encrypt everything with a new key, also while the server runs, and drop the old key
    ///
    /// Backups made before need the old key: copy the key file first if you may want to restore one.
    Rotate,
}

pub(super) async fn run(store: &Store, data_dir: &DataDir, command: KeysCommand) -> Result<(), AdminError> {
    let KeysCommand::Rotate = command;
    let rotated = store.rotate_keys(data_dir).await?;
    let dropped: Vec<String> = rotated.dropped.iter().map(KeyId::to_string).collect();
    let dropped = dropped.join(", ");
    output::line(&format!("Key {} encrypts now; {} values re-encrypted.", rotated.active, rotated.values))?;
    output::line(&format!(
        "Key {dropped} is no longer in {}; backups made until now still need it, from your copy of the keys.",
        store.keys().source()
    ))?;
    output::line("Copy the new keys to a safe place, and make a new backup.")
}
