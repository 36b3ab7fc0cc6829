//! Surroundings that nobody wishes for, and in which the agent works all the same: what it inherits, what the machine
//! lacks, disks and pipes that do not answer.

mod accounts;
mod directory;
mod inherited;
mod logs;
mod slow;

use std::path::Path;

use nix::sys::signal::Signal;
use tests::{Run, Workspace, World, wait_until};

/// Waits for a line of the startup log that the server keeps, and gives all of them.
#[track_caller]
fn wait_startup_log(workspace: &Workspace, text: &str) -> Vec<String> {
    let lines = || {
        let log = workspace.show_agent()["startup_log"].take();
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| line["output"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    wait_until(&format!("{text:?} in the startup log"), tests::LONG, || lines().iter().any(|line| line.contains(text)));
    lines()
}

/// A signal to the agent itself, which answers on `socket`: strace, behind which it runs, keeps signals to itself.
fn signal(world: &World, socket: &Path, signal: Signal) {
    let status = world.env.coder(["status", "-o", "json"]).env("CODER_AGENT_SOCKET", socket).run().json();
    let pid = status["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a process");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

/// As root where the test is.
fn allow_root(run: Run) -> Run {
    if rustix::process::geteuid().is_root() { run.arg("--allow-root") } else { run }
}
