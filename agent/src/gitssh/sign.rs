//! ssh-keygen as git runs it to sign commits and tags (`gpg.ssh.program`), with the key at its side.

use std::ffi::OsString;
use std::process::Command;

use super::choice::Choice;
use super::run::{self, Ended, RunError};
use crate::sessions::client::Client;

/// ssh-keygen with these arguments and without us.
#[must_use]
pub fn plain(args: &[OsString]) -> Command {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(args);
    keygen
}

/// Whether these arguments ask for a signature; all others, as to verify one, need no key of ours.
#[must_use]
pub fn is_signing(args: &[OsString]) -> bool {
    args.first().is_some_and(|flag| flag == "-Y") && args.get(1).is_some_and(|action| action == "sign")
}

/// Runs ssh-keygen with the key offered to it after the keys of the user's own agent. It picks the one that git names.
pub async fn with_key(args: &[OsString], client: Client) -> Result<Ended, RunError> {
    run::run(plain(args), std::future::ready(Choice::Offer), client).await
}
