//! The boot: what `coder secret` stored is in files, scripts and the main process when a workspace starts.

mod drift;
mod dry_run;
mod environment;
mod files;
mod files_refused;
mod main_process;
mod main_process_leftovers;
mod main_process_signals;
mod masking;
mod notify;
mod policy;
mod races;
mod refetch;
mod scripts;
mod scripts_ended;
mod spine;
mod stale;
mod surroundings;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Agent, LONG, Workspace, World, wait_until};

/// A startup script.
fn on_start(name: &str, script: &str) -> Value {
    json!({ "display_name": name, "run_on_start": true, "script": script })
}

/// A stop script.
fn on_stop(name: &str, script: &str) -> Value {
    json!({ "display_name": name, "run_on_stop": true, "script": script })
}

/// The lifecycle states the server has heard of, in order.
#[track_caller]
fn states(workspace: &Workspace) -> Vec<String> {
    let agent = workspace.show_agent();
    let history = agent["lifecycle"].as_array().expect("a history");
    history.iter().map(|state| state["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `status exit_code` of a script's last run.
#[track_caller]
fn result(workspace: &Workspace, script: &str) -> String {
    let agent = workspace.show_agent();
    let results = agent["script_results"].as_array().expect("results");
    let result = results.iter().find(|result| result["display_name"] == script);
    result.map_or("none".to_owned(), |result| {
        format!("{} {}", result["status"].as_str().unwrap_or_default(), result["exit_code"])
    })
}

/// The startup log that the server keeps: `source: line`.
#[track_caller]
fn log(workspace: &Workspace) -> Vec<String> {
    let agent = workspace.show_agent();
    let lines = agent["startup_log"].as_array().expect("a log").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.map(|line| format!("{}: {}", text(&line["source"]), text(&line["output"]))).collect()
}

/// Waits until the server's log has a line with `text`.
#[track_caller]
fn wait_log(workspace: &Workspace, text: &str) {
    wait_until(&format!("{text:?} in the server's log"), LONG, || {
        log(workspace).iter().any(|line| line.contains(text))
    });
}

/// Waits until the agent has carried out so many manifests.
#[track_caller]
fn wait_deliveries(agent: &Agent, count: usize) {
    let what = format!("delivery {count}; stderr:\n{}", agent.stderr());
    wait_until(&what, LONG, || deliveries(agent) >= count);
}

fn deliveries(agent: &Agent) -> usize {
    agent.stderr().lines().filter(|line| line.contains("delivered ") && line.contains(" variable")).count()
}

/// Waits until the server sees the agent like this.
#[track_caller]
fn wait_status(workspace: &Workspace, status: &str) {
    wait_until(&format!("status {status}"), LONG, || workspace.show_agent()["status"] == status);
}

/// Permission bits.
#[track_caller]
fn mode(path: impl AsRef<Path>) -> u32 {
    let path = path.as_ref();
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o7777
}

/// Everything below `dir`, with what a change of any kind would change: kind, mode, inode, size, time, and content. Not
/// the agent's socket and lock, which come and go with it, nor its ledger.
fn snapshot(dir: &Path) -> Vec<(PathBuf, u32, u64, i64, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if path == dir.join(".local") {
            continue;
        }
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if path != dir && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("agent.sock")) {
            seen.push((path, meta.mode(), meta.ino(), meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), content));
        }
    }
    seen.sort();
    seen
}

/// The names of everything below `dir`.
fn names(dir: &Path) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    snapshot(dir).iter().map(|(path, ..)| below(path)).collect()
}
