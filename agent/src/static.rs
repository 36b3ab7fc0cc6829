//! The executable `coder` as one file that runs in any image.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(not(target_feature = "crt-static"))]
compile_error!("build it with .ci/static: without crt-static it is no static executable");

fn main() -> ExitCode {
    agent::run(std::env::args_os())
}
