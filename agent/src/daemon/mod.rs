//! The composition root: the life of one workspace, from the start of the process to its end.
#![forbid(unsafe_code)]

mod announce;
mod boot;
mod delivery;
mod digest;
mod dry_run;
mod init;
mod jobs;
mod leftovers;
mod local_api;
mod logging;
mod main_process;
mod notify;
mod phase;
mod report;
mod shutdown;
mod signals;
mod start;
mod user_manager;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::JoinError;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::{AgentArgs, Config};
use crate::control::{Control, Endpoint, Following, Handle, Link, Role};
use crate::errors::chain;
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::scripts::{DataDirs, Masking};
use crate::sys::{signal_state, threads};
use boot::{Boot, StartRules};
use delivery::Deliverer;
use digest::Digester;
use init::Orphans;
use leftovers::Leftovers;
use local_api::{LocalApi, Observed};
use signals::Signals;
use start::{Prepared, ProcessContext};

const OK: u8 = 0;
const FAILURE: u8 = 1;
/// Wrong before the first request.
const USAGE: u8 = 2;

/// Runs `coder agent` until the workspace ends, and gives its exit code. To be called before any thread exists.
#[must_use]
pub fn run(args: AgentArgs) -> ExitCode {
    if let Err(error) = signal_state::reset() {
        return complain(&error, FAILURE).into();
    }
    // Process 1 must never have held what the agent is about to read.
    let (args, orphans) = match init::split(args) {
        Ok(split) => split,
        Err(code) => return code,
    };
    let start = match Prepared::prepare(args) {
        Ok(start) => start,
        Err(error) => return complain(&error, USAGE).into(),
    };
    // One thread: the agent waits most of its life, and every thread costs memory.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, FAILURE).into(),
    };
    let code = runtime.block_on(async {
        if start.config.dry_run { Ok(dry_run::dry_run(start).await) } else { live(start, orphans).await }
    });
    let (Ok(code) | Err(code)) = code;
    // A disk or a name server that does not answer must not keep the process.
    runtime.shutdown_background();
    logging::flush();
    code.into()
}

/// The boot story. Each part waits for what it needs from the one before it: nothing starts before the environment is
/// there, the environment comes after the files, the files come with the manifest. Either way the result is the exit code.
async fn live(start: Prepared, orphans: Orphans) -> Result<u8, u8> {
    let config = start.config;
    let mut leftovers = Leftovers::new(orphans);
    let signals = if config.command.is_empty() { Signals::for_agent() } else { Signals::for_command() };
    let mut signals = signals.map_err(|error| complain(&error, FAILURE))?;
    // First of all: whoever asks while the workspace boots waits, instead of being told that there is no agent.
    let listener =
        local_api::listen(config.socket.as_deref(), &start.process).map_err(|error| complain(&error, USAGE))?;
    let proxy = start.network.proxy().map(tracing::field::display);
    info!(version = delivery::VERSION, server = %config.url, proxy, "agent starts");
    start.process.warn_of_home();
    let reporter = Reporter::default();
    let deliverer = deliverer(&config, start.process, reporter.clone()).await;
    let deliverer = deliverer.map_err(|error| complain(&error, FAILURE))?;
    let endpoint = Arc::new(Endpoint::new(start.network, config.token, Role::Agent));
    let following = Following { live: config.live, refresh: config.refresh };
    let (control, link) = Control::new(endpoint.clone(), reporter, following);
    let Link { manifests, state, updates, handle } = link;
    let rules = StartRules { strict: config.strict, has_command: !config.command.is_empty() };
    let boot = Arc::new(Boot::new(deliverer, rules));
    let observed = Observed { connection: state.clone(), updates };
    let api = Arc::new(LocalApi::new(boot.clone(), endpoint, handle.clone(), observed));
    let mut sessions = tokio::spawn(local_api::serve(listener, boot.sessions.clone(), api.clone()));

    let mut connection = tokio::spawn(control.run());
    let code = tokio::select! {
        code = boot.follow(manifests, &handle) => code,
        code = serve(&config.command, &boot, &mut signals, &handle) => code,
        never = boot.jobs.run_on_schedule() => match never {},
        never = boot.jobs.collect_metadata() => match never {},
        never = boot.give_up_waiting(config.start_without_secrets) => match never {},
        never = boot.user_manager.keep() => match never {},
        never = api.guard_key() => match never {},
        never = announce::announce(&boot, state, config.ready_after) => match never {},
        never = leftovers.reap() => match never {},
        ended = &mut connection => return Err(crash("the connection", ended)),
        ended = &mut sessions => return Err(crash("sessions", ended)),
    };
    let code = shutdown::shut_down(&boot, &mut signals, &handle, connection, code).await;
    leftovers.end().await;
    Ok(code)
}

async fn deliverer(config: &Config, process: ProcessContext, reporter: Reporter) -> io::Result<Deliverer> {
    let ledger = Ledger::new(process.state_dir.clone())?;
    let script_data = script_data(config, &process).await;
    Ok(Deliverer {
        process,
        reporter,
        server: config.url.to_string(),
        ledger: Arc::new(Mutex::new(ledger)),
        stale_files: config.stale_files,
        script_data,
        agent_token: config.pass_agent_token.then(|| config.token.last()),
        masking: Arc::new(Masking::new(config.token.last())),
        digester: Digester::new()?,
    })
}

/// What the agent does besides delivering: it runs the main process, or waits to be told to end.
async fn serve(command: &[OsString], boot: &Boot, signals: &mut Signals, handle: &Handle) -> u8 {
    if !command.is_empty() {
        return main_process::run(command, &boot.sessions, signals, || {
            boot.life.end(true);
        })
        .await;
    }
    loop {
        match signals.next().await {
            Signal::SIGHUP => {
                info!("asked to fetch the manifest again");
                handle.refetch();
            }
            signal => {
                info!(%signal, "asked to end");
                boot.life.end(true);
                return OK;
            }
        }
    }
}

/// A root that is read-only has no place for them, and a disk may not answer; scripts then run without.
async fn script_data(config: &Config, process: &ProcessContext) -> Option<DataDirs> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let bases = config.script_data_dir.clone().map_or_else(|| process.places(), |chosen| vec![chosen]);
    let text = match timeout(PATIENCE, threads::run(move || DataDirs::prepare(&bases))).await {
        Ok(Ok(dirs)) => return Some(dirs),
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("no directory for script data within {PATIENCE:?}"),
    };
    warn!("{text}: scripts run without one");
    None
}

/// The tasks of the agent's core run for ever; the end of one is a fault in this program.
fn crash(task: &str, ended: Result<(), JoinError>) -> u8 {
    match ended {
        Ok(()) => error!("the task of {task} has ended by itself"),
        Err(panic) => error!("the task of {task} failed: {panic}"),
    }
    FAILURE
}

/// Tells the user why there is no agent.
fn complain(error: &dyn Error, code: u8) -> u8 {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {}", chain(error));
    code
}
