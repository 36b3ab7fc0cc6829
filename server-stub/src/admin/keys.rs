//! `coder-server keys`

use clap::Subcommand;

use super::{AdminError, output};
use crate::store::{DataDir, KeyId, Store};

/// Manage encryption keys.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum KeysCommand {
    /// Re-encrypt everything with a new key; the server may run meanwhile
    ///
    /// The old key stays in the key file, because earlier backups need it. Delete it with --forget once you need none of them.
    #[command(after_help = "\
Examples:
  coder-server keys rotate
  coder-server backup /backups/coder-$(date +%F).db")]
    Rotate {
        /// Also delete from the key file every key that this database no longer needs
        #[arg(long)]
        forget: bool,
    },
}

pub(super) async fn run(store: &Store, data_dir: &DataDir, command: KeysCommand) -> Result<(), AdminError> {
    let KeysCommand::Rotate { forget } = command;
    let rotated = store.keys().rotate(data_dir, forget).await?;
    let dropped: Vec<String> = rotated.dropped.iter().map(KeyId::to_string).collect();
    output::line(&format!("Key {} encrypts now; {} values re-encrypted.", rotated.active, rotated.values))?;
    for row in &rotated.unproven {
        tracing::warn!(row, "somebody without the encryption key changed this row; it lets nobody in");
    }
    let (dropped, source) = (dropped.join(", "), store.keys().source());
    output::line(&if forget {
        format!(
            "Key {dropped} is no longer in {source}; backups made until now still need it, from your copy of the keys."
        )
    } else {
        format!("Key {dropped} stays in {source}, because backups made until now need it; --forget would delete it.")
    })?;
    output::line("Copy the new keys to a safe place, and make a new backup.")
}
