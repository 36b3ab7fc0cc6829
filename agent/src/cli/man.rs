//! `coder man`, which packages of this program run.

use std::path::PathBuf;

use clap::Args;
use manual::{Manual, Row};

use super::completion::own_name;
use super::error::CliError;

/// Write the man pages of these commands into a directory
#[derive(Args)]
#[command(hide = true)]
pub(crate) struct ManArgs {
    /// Directory for the pages; created if it does not exist
    directory: PathBuf,
}

impl ManArgs {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        // clap wants names that live as long as the program.
        MANUAL.write(super::command(), own_name().leak(), &self.directory).map_err(CliError::Manual)
    }
}

const MANUAL: Manual = Manual {
    name: "coder",
    environment: &[
        (
            "coder agent",
            &[
                (
                    "CODER_AGENT_TOKEN",
                    "The token of the agent, where no option gives it. The agent removes it from its environment.",
                ),
                ("CODER_AGENT_TOKEN_FILE", "A file with the token of the agent."),
                ("CREDENTIALS_DIRECTORY", "Set by systemd. The file agent-token in it holds the token of the agent."),
                (
                    "CODER_AGENT_LOG",
                    "What the agent logs, such as debug. The default is info. If it is not set, RUST_LOG is read.",
                ),
            ],
        ),
        ("coder agent", SOCKET),
        ("coder exec", SOCKET),
        ("coder env", SOCKET),
        ("coder session", SOCKET),
        ("coder status", SOCKET),
        ("coder gitssh", SOCKET),
        ("coder publickey", SOCKET),
        ("coder secret", NETWORK),
        ("coder login", NETWORK),
        ("coder whoami", NETWORK),
        ("coder publickey", NETWORK),
    ],
    exit_status: &[
        (
            "coder",
            &[
                ("0", "Success."),
                ("1", "The command failed, or the user canceled it."),
                ("2", "Something was wrong before the first request to the server, such as an unknown option."),
            ],
        ),
        ("coder exec", RUNS),
        ("coder gitssh", RUNS),
        ("coder session", RUNS),
        (
            "coder status",
            &[
                ("0", "The workspace is ready and got every secret."),
                ("1", "It is not, or no agent is running."),
                ("2", "Wrong usage."),
            ],
        ),
        (
            "coder agent",
            &[
                ("0", "The agent was stopped."),
                ("1", "The agent failed."),
                ("2", "The configuration is wrong."),
                (
                    "other",
                    "With COMMAND: the exit status of COMMAND, or 128 and the number of the signal that ended it.",
                ),
            ],
        ),
        (
            "coder agent reload",
            &[
                ("0", "Every secret was delivered."),
                ("1", "No agent is running, or the delivery had problems."),
                ("2", "Wrong usage."),
            ],
        ),
    ],
    files: &[
        ("coder secret", SIGN_IN),
        ("coder login", SIGN_IN),
        ("coder logout", SIGN_IN),
        ("coder whoami", SIGN_IN),
        ("coder publickey", SIGN_IN),
        (
            "coder agent",
            &[
                (
                    "/etc/coder-agent/config.toml",
                    "Configuration of the agent, with the names of its options as keys. It never holds a token.",
                ),
                (
                    "/run/coder-agent/USER/agent.sock",
                    "Socket of the agent of USER, where the service manager made the directory.",
                ),
                ("/tmp/coder-agent-UID/agent.sock", "Socket of the agent in all other places."),
                ("~/.local/state/coder-agent", "Which files the agent wrote. No value is in it."),
            ],
        ),
    ],
};

const SOCKET: &[Row] = &[("CODER_AGENT_SOCKET", "Path of the agent's socket, instead of the usual places.")];

const NETWORK: &[Row] = &[
    ("SSL_CERT_FILE", "File with further certificate authorities to trust, in PEM form."),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "Proxies to use, and hosts to reach without one. This machine is always reached without.",
    ),
    ("XDG_CONFIG_HOME", "Parent of the directory coderv2 with the sign-in, instead of ~/.config."),
];

const RUNS: &[Row] = &[
    ("1", "There is no environment to run a command in."),
    ("2", "Wrong usage."),
    ("126, 127", "The command cannot be run, or is not found."),
    ("other", "The exit status of the command that was run."),
];

const SIGN_IN: &[Row] = &[
    ("~/.config/coderv2/url", "Address of the server of the last sign-in."),
    ("~/.config/coderv2/session", "Session token for that server. Only you can read it."),
];
