//! `coder-server man`, which packages of this program run.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use manual::Manual;

use super::Cli;

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory for the pages; created if it does not exist
    directory: PathBuf,
}

impl ManArgs {
    /// Writes the pages.
    pub(crate) fn run(&self) -> io::Result<()> {
        MANUAL.write(Cli::command(), MANUAL.name, &self.directory)
    }
}

const MANUAL: Manual = Manual {
    name: "coder-server",
    environment: &[
        (
            "coder-server",
            &[
                (
                    "CODER_SERVER_ENCRYPTION_KEYS",
                    "The encryption keys themselves: base64 of 32 bytes each, separated by commas.",
                ),
                ("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS", "Coder's name for the same keys."),
                (
                    "XDG_DATA_HOME",
                    "Parent of the directory coder-server with the data of a user, instead of ~/.local/share.",
                ),
            ],
        ),
        (
            "coder-server serve",
            &[(
                "CODER_SERVER_LOG",
                "What the server logs, such as debug. The default is info. If it is not set, RUST_LOG is read.",
            )],
        ),
    ],
    exit_status: &[(
        "coder-server",
        &[("0", "Success."), ("1", "The command failed."), ("2", "Wrong usage, or a wrong configuration.")],
    )],
    files: &[(
        "coder-server",
        &[
            ("/var/lib/coder-server", "Database and keys of a server that runs as root or as a service."),
            ("~/.local/share/coder-server", "Database and keys of any other user's server."),
            (
                "encryption.key",
                "The encryption keys, in that directory unless --encryption-key-file names another file.",
            ),
        ],
    )],
};
