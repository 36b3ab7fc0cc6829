//! From the command line to the exit code.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::admin::{self, AdminError};
use crate::cli::{Cli, Command};
use crate::config::ConfigError;
use crate::serve::{self, ServeError, process};

/// Any failure of a command. Its variants tell what the exit code is decided by.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Wrong before anything was tried.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server did not start, or broke down.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An administrator's command failed.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Standard output or a directory could not be written to.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The runtime could not be made.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

impl RunError {
    /// 2 for anything wrong before the first request, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Serve(error) if error.is_before_the_first_request() => 2,
            Self::Admin(error) if error.is_usage() => 2,
            _ => 1,
        }
    }
}

/// Runs one command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that cannot be printed is no reason for another failure.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    process::harden();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is gone as well.
            drop(writeln!(io::stderr(), "coder-server: {}", chain(&error)));
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: Cli) -> Result<(), RunError> {
    let environment = |name: &str| std::env::var_os(name);
    match cli.command {
        Command::Serve(args) => {
            let config = args.resolve(&environment)?;
            process::log_as_server(config.log_format);
            let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
            runtime.block_on(serve::serve(config, &cli.store, &environment)).map_err(RunError::from)
        }
        Command::Completion(args) => args.run().map_err(RunError::Output),
        Command::Man(args) => args.run().map_err(RunError::Output),
        Command::Admin(command) => {
            process::log_as_command();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(RunError::Runtime)?;
            runtime.block_on(admin::execute(command, &cli.store, &environment)).map_err(RunError::from)
        }
    }
}

/// An error and its sources on one line. A source that a transparent variant repeats is said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
