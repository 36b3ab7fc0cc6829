//! Writes the man pages of `coder-server` into the directory that is its argument: `cargo run --example man -- target/man`.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use clap::CommandFactory as _;

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("usage: man DIRECTORY"))?;
    std::fs::create_dir_all(&directory)?;
    clap_mangen::generate_to(server_stub::cli::Cli::command(), &directory)
}
