//! Surroundings that nobody wishes for, and in which the agent works all the same: what it inherits, what the machine
//! lacks, disks and pipes that do not answer.

mod accounts;
mod directory;
mod inherited;
mod logs;
mod slow;

use tests::{Run, Workspace, wait_until};

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

/// As root where the test is.
fn allow_root(run: Run) -> Run {
    if rustix::process::geteuid().is_root() { run.arg("--allow-root") } else { run }
}
