//! The executable `coder`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::run(std::env::args_os())
}
