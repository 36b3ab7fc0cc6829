//! Scripts that the agent ends, or that leave something behind, or that do not run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::{LONG, SHORT, wait_until};

use super::{World, log, mode, on_start, on_stop, result, states, wait_log};

fn with_timeout(name: &str, seconds: u32, script: &str) -> Value {
    json!({ "display_name": name, "run_on_start": true, "timeout": seconds, "script": script })
}

#[track_caller]
fn wait_gone(what: &str, pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().expect("a pid"));
    wait_until(what, SHORT, || kill(pid, None).is_err());
}

/// A request to end first, to everything the script has started.
#[test]
fn a_script_that_runs_out_of_time_gets_sigterm_and_is_a_start_timeout() {
    let world = World::new();
    // `wait` ends at the signal, unlike a command in the foreground.
    let script = "trap 'echo got TERM; exit 0' TERM; sleep 1000 & echo $! > ~/child; wait";
    let workspace = world.workspace(json!({ "scripts": [with_timeout("Slow", 1, script), on_start("Fine", "true")] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("start_timeout");
    assert_eq!((result(&workspace, "Slow"), result(&workspace, "Fine")), ("timed_out 0".into(), "ok 0".into()));
    wait_log(&workspace, "Slow: got TERM");
    wait_log(&workspace, "Slow: (ended by the agent after its timeout of 1s)");
    wait_gone("the script's own child", &agent.read("child"));
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(states(&workspace), ["starting", "start_timeout", "shutting_down", "off"]);
}

/// After ten seconds for it to end by itself, which is why this test is a slow one.
#[test]
fn a_script_that_ignores_sigterm_gets_sigkill_with_all_it_started() {
    let world = World::new();
    let script = "trap '' TERM; echo $$ > ~/script; sleep 1000 & echo $! > ~/child; while :; do sleep 1000; done";
    let workspace = world.workspace(json!({ "scripts": [with_timeout("Deaf", 1, script)] }));
    let agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("start_timeout");
    assert_eq!(result(&workspace, "Deaf"), "timed_out 255");
    wait_gone("the script", &agent.read("script"));
    wait_gone("its child", &agent.read("child"));
}

/// A server started with `&` keeps the pipe: the script is done, and what comes later is logged all the same.
#[test]
fn a_process_that_outlives_its_script_keeps_its_output_and_its_life() {
    let world = World::new();
    let script =
        "(until [ -e ~/go ]; do sleep 0.02; done; echo late; touch ~/done; exec sleep 1000) & echo $! > ~/child";
    let workspace = world.workspace(json!({ "scripts": [on_start("Serve", script)] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    assert_eq!(result(&workspace, "Serve"), "pipes_left_open 0");
    wait_log(&workspace, "still holds its output open");
    std::fs::write(agent.home().join("go"), "").unwrap();
    wait_log(&workspace, "Serve: late");
    let child = agent.read("child");
    let child = Pid::from_raw(child.trim().parse().unwrap());
    assert!(kill(child, None).is_ok());
    // And it is nothing that a stop waits for.
    assert_eq!(agent.terminate().code, Some(0));
    let _ = kill(child, Signal::SIGKILL);
}

#[test]
fn a_stop_ends_startup_scripts_that_still_run() {
    let world = World::new();
    let script = "trap 'echo cleaned up >> ~/order; exit 1' TERM; echo up; touch ~/up; sleep 1000 & wait";
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Long", script), on_stop("Stop", "echo stop >> ~/order"),
    ] }));
    let mut agent = world.agent(&workspace).start();
    agent.wait_read("up");
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("order"), "cleaned up\nstop\n");
    assert_eq!(states(&workspace), ["starting", "shutting_down", "off"]);
    assert_eq!(result(&workspace, "Long"), "exit_failure 1");
}

/// A second request to end cuts the stop scripts short, as an impatient person wants it.
#[test]
fn a_second_signal_cuts_stop_scripts_short() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": [on_stop("Long", "touch ~/stopping; exec sleep 1000")] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    agent.signal(Signal::SIGTERM);
    agent.wait_read("stopping");
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "shutdown_timeout"]);
}

/// `--strict`: what cannot be delivered is a start error, and no script runs, not even at the end.
#[test]
fn strict_runs_no_script_when_a_secret_cannot_be_delivered() {
    let world = World::new();
    world.alice.secret("bad", &["--file", "~/directory"]);
    let good = world.alice.secret("good", &["--file", "~/good"]);
    let home = world.home();
    std::fs::create_dir(home.join("directory")).unwrap();
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Start", "touch ~/ran"), on_stop("Stop", "touch ~/ran"),
    ] }));
    let mut agent = world.agent(&workspace).home(&home).args(["--strict"]).start();
    workspace.wait_lifecycle("start_error");
    wait_log(&workspace, "Coder Agent: cannot deliver the secret to ");
    assert_eq!(agent.read("good"), good);
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(states(&workspace), ["starting", "start_error", "shutting_down", "off"]);
    assert!(!home.join("ran").exists());
    assert_eq!((result(&workspace, "Start"), result(&workspace, "Stop")), ("none".into(), "none".into()));
}

#[test]
fn strict_does_not_start_the_main_process_when_a_secret_cannot_be_delivered() {
    let world = World::new();
    world.alice.secret("bad", &["--file", "~/directory"]);
    let home = world.home();
    std::fs::create_dir(home.join("directory")).unwrap();
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "touch ~/ran")] }));
    let command = ["sh", "-c", "touch ~/ran"];
    let mut agent = world.agent(&workspace).home(&home).args(["--strict"]).command(command).start();
    assert_eq!(agent.exit().code, Some(1));
    assert!(!home.join("ran").exists());
    assert!(states(&workspace).starts_with(&["starting".to_owned(), "start_error".to_owned()]));
    assert!(agent.stderr().contains("cannot deliver the secret to "), "{}", agent.stderr());
}

/// The refusal holds until everything can be delivered, however often that takes; then the workspace starts, once.
#[test]
fn strict_starts_the_workspace_with_the_first_complete_delivery() {
    let world = World::new();
    world.alice.secret("bad", &["--file", "~/directory"]);
    let home = world.home();
    std::fs::create_dir(home.join("directory")).unwrap();
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "echo ran >> ~/ran")] }));
    let agent = world.agent(&workspace).home(&home).args(["--strict"]).start();
    workspace.wait_lifecycle("start_error");
    let reload = || agent.coder(["agent", "reload"]).run();
    let state = || agent.coder(["status", "-o", "json"]).run().json()["state"].clone();
    let _ = reload().exits(1).complains("1 problem");
    assert_eq!((state(), home.join("ran").exists()), ("degraded".into(), false));
    std::fs::remove_dir(home.join("directory")).unwrap();
    let _ = reload().success();
    workspace.wait_lifecycle("ready");
    // Not held to it any more: what runs is not taken away.
    std::fs::remove_file(home.join("directory")).unwrap();
    std::fs::create_dir(home.join("directory")).unwrap();
    world.alice.secret("worse", &["--file", "~/directory/.."]);
    let _ = reload().exits(1);
    assert_eq!(state(), "ready");
    assert_eq!((agent.read("ran").as_str(), result(&workspace, "Start").as_str()), ("ran\n", "ok 0"));
    assert_eq!(states(&workspace), ["starting", "start_error", "ready"]);
}

#[test]
fn strict_is_no_hindrance_when_everything_arrives() {
    let world = World::new();
    let key = world.alice.secret("key", &["--file", "~/key", "--env", "KEY"]);
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "printf %s \"$KEY\" > ~/ran")] }));
    let mut agent = world.agent(&workspace).args(["--strict"]).command(["sh", "-c", "exit 9"]).start();
    assert_eq!(agent.exit().code, Some(9), "{}", agent.stderr());
    assert_eq!((agent.read("ran"), agent.read("key")), (key.clone(), key));
}

/// More output than the server keeps: the local log has all of it, the server says that it has not, and the boot ends.
#[test]
fn a_flood_of_output_holds_nothing_up() {
    let world = World::new();
    let script = "i=0; while [ $i -lt 400 ]; do printf '%08192d\\n' $i; i=$((i+1)); done; echo the end";
    let workspace = world.workspace(json!({ "scripts": [on_start("Flood", script)] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    let path = std::fs::read_dir(agent.log_dir()).unwrap().map(|entry| entry.unwrap().path());
    let path = path.into_iter().find(|path| path.to_str().unwrap().contains("coder-script-")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.lines().count(), mode(&path)), (401, 0o600));
    assert!(text.ends_with("the end\n"));
    wait_until("what the server takes", LONG, || {
        let shown = workspace.show_agent();
        shown["logs_overflowed"] == true || log(&workspace).iter().any(|line| line.contains("were not sent"))
    });
    assert_eq!(agent.terminate().code, Some(0));
}
