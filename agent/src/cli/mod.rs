//! Every command of `coder`: one file a command.
#![forbid(unsafe_code)]

mod agent;
mod client;
mod completion;
mod config_dir;
mod env;
mod error;
mod exec;
mod gitssh;
mod login;
mod logout;
mod man;
mod mistakes;
mod publickey;
mod secret;
mod server;
mod session;
mod status;
mod tokens;
mod ui;
mod whoami;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use error::CliError;
use server::ServerArgs;

use crate::sys;

/// Store secrets once, and get them in every workspace that you own.
#[derive(Parser)]
#[command(name = "coder", version = client::VERSION, arg_required_else_help = true, after_help = GETTING_STARTED)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,

    #[command(subcommand)]
    command: Command,
}

const GETTING_STARTED: &str = "\
Getting started:
  coder login https://coder.example.com
  echo -n \"$API_KEY\" | coder secret create api-key --env API_KEY
  coder secret list";

/// The help of each command stands with its arguments: a comment here would replace it.
#[derive(Subcommand)]
enum Command {
    #[command(visible_alias = "secrets")]
    Secret(secret::SecretArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    Whoami(whoami::WhoamiArgs),
    #[command(visible_alias = "token")]
    Tokens(tokens::TokensArgs),
    Workspace(workspace::WorkspaceArgs),
    Agent(Box<agent::AgentCommand>),
    Exec(exec::ExecArgs),
    Session(session::SessionArgs),
    Env(env::EnvArgs),
    Status(status::StatusArgs),
    #[command(name = "publickey")]
    PublicKey(publickey::PublicKeyArgs),
    #[command(name = "gitssh")]
    GitSsh(gitssh::GitSshArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
}

/// The commands that ask no server, or find their server in another way, as the agent does.
const LOCAL: [&str; 8] = ["agent", "exec", "session", "env", "status", "gitssh", "completion", "man"];

/// The command line as clap knows it, for man pages and completion.
///
/// The flags of [`ServerArgs`] are accepted everywhere, as in Coder's command line; commands without a use for them hide
/// them.
#[must_use]
pub fn command() -> clap::Command {
    let hidden: Vec<_> = server_flags().get_arguments().map(|flag| flag.clone().hide(true)).collect();
    LOCAL.iter().fold(Cli::command(), |cli, name| cli.mut_subcommand(name, |command| command.args(&hidden)))
}

fn server_flags() -> clap::Command {
    ServerArgs::augment_args(clap::Command::new(""))
}

type Augment = fn(clap::Command) -> clap::Command;

/// Commands that run at each login and in loops, so that their start has to be fast.
const QUICK: [(&str, Augment); 4] = [
    ("exec", exec::ExecArgs::augment_args),
    ("env", env::EnvArgs::augment_args),
    ("session", session::SessionArgs::augment_args),
    ("gitssh", gitssh::GitSshArgs::augment_args),
];

/// Parses a [`QUICK`] command without building the whole [`command`], which would be most of the work. `None` for help,
/// errors and all other commands.
fn parse_quickly(args: &[OsString]) -> Option<ArgMatches> {
    let first = args.get(1)?;
    let (name, augment) = QUICK.iter().find(|(name, _)| first == name)?;
    let cli = ServerArgs::augment_args(clap::Command::new("coder")).subcommand(augment(clap::Command::new(*name)));
    cli.try_get_matches_from(args).ok()
}

fn parse(args: Vec<OsString>) -> Result<(Cli, String), clap::Error> {
    let mut matches = match parse_quickly(&args) {
        Some(matches) => matches,
        None => command().try_get_matches_from(args)?,
    };
    let path = command_path(&matches);
    refuse_useless(&matches, &path)?;
    Ok((Cli::from_arg_matches_mut(&mut matches)?, path))
}

/// Refuses a server flag for a command that ignores it: its user would believe that it did something.
fn refuse_useless(matches: &ArgMatches, path: &str) -> Result<(), clap::Error> {
    let Some(name) = matches.subcommand_name().filter(|name| LOCAL.contains(name)) else { return Ok(()) };
    let flags = server_flags();
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let Some(flag) = flags.get_arguments().find(|flag| is_given(flag.get_id().as_str())) else { return Ok(()) };
    let flag = flag.get_long().unwrap_or_default();
    let instead = match (name, flag) {
        ("agent", "url" | "token" | "header" | "header-command") => format!("; it has --agent-{flag}"),
        _ => String::new(),
    };
    Err(command().error(ErrorKind::UnknownArgument, format!("{path} has no use for --{flag}{instead}")))
}

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if completion::answer(&args) {
        return ExitCode::SUCCESS;
    }
    // git runs the program of `gpg.ssh.program` as if it were ssh-keygen, and takes no command beside its name.
    if args.get(1).is_some_and(|first| first == "-Y") {
        return finish(gitssh::keygen(&args[1..]), "coder -Y");
    }
    let (cli, path) = match parse(args.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            if let Some(mistake) = mistake(&error, &args) {
                return finish(Err(mistake), "coder");
            }
            // Help and version come this way too. A closed pipe is no news.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    finish(cli.run(), &path)
}

/// The error for a word that is no command, but that other programs have or that people expect.
fn mistake(error: &clap::Error, args: &[OsString]) -> Option<CliError> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let is_secret = args.iter().take_while(|arg| *arg != word.as_str()).any(|arg| arg == "secret" || arg == "secrets");
    let path = if is_secret { "coder secret" } else { "coder" };
    let instead = mistakes::instead(path, word)?;
    Some(CliError::NoCommand { line: format!("{path} {word}"), instead })
}

fn finish(done: Result<ExitCode, CliError>, path: &str) -> ExitCode {
    done.unwrap_or_else(|error| {
        error.report(path);
        error.exit_code()
    })
}

/// The words of the command, such as `coder secret create`.
fn command_path(matches: &ArgMatches) -> String {
    let mut path = String::from("coder");
    let mut next = matches.subcommand();
    while let Some((name, matches)) = next {
        path.push(' ');
        path.push_str(name);
        next = matches.subcommand();
    }
    path
}

impl Cli {
    /// The exit code is the command's own: those that run a program return the program's.
    fn run(self) -> Result<ExitCode, CliError> {
        let server = self.server;
        let done = match self.command {
            Command::Secret(args) => block_on(args.run(&server)),
            Command::Login(args) => block_on(args.run(&server)),
            Command::Logout(args) => block_on(args.run(&server)),
            Command::Whoami(args) => block_on(args.run(&server)),
            Command::Tokens(args) => block_on(args.run(&server)),
            Command::Workspace(args) => block_on(args.run(&server)),
            Command::Completion(args) => args.run(),
            Command::Man(args) => args.run(),
            Command::Agent(args) => return args.run(),
            Command::Exec(args) => return args.run(),
            Command::Session(args) => return Ok(args.run()),
            Command::Env(args) => args.run(),
            Command::Status(args) => return args.run(),
            Command::PublicKey(args) => block_on(args.run(&server)),
            Command::GitSsh(args) => return args.run(),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// Runs a command that holds a session token, and perhaps values.
fn block_on<T>(command: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    // No core and no debugger shows them. A kernel that cannot do that is no reason to do nothing.
    let _ = sys::process::harden();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
    let done = runtime.block_on(command);
    // A name server that does not answer must not hold up a command that is done.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests;
