//! Writes the man pages of `coder` into the directory that is its argument: `cargo run --example man -- target/man`.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("usage: man DIRECTORY"))?;
    std::fs::create_dir_all(&directory)?;
    // What `-h` leaves out has to be in the manual.
    let command = agent::cli::command().mut_args(|arg| arg.hide_short_help(false));
    clap_mangen::generate_to(command, &directory)
}
