//! Prints a completion script for `coder-server`: `cargo run --example completions -- bash`.
#![forbid(unsafe_code)]

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

fn main() -> io::Result<()> {
    let shell: Option<Shell> = std::env::args().nth(1).and_then(|name| name.parse().ok());
    let shell = shell.ok_or_else(|| io::Error::other("usage: completions bash|zsh|fish"))?;
    clap_complete::generate(shell, &mut server_stub::cli::Cli::command(), "coder-server", &mut io::stdout());
    Ok(())
}
