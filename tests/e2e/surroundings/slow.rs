//! Disks and pipes that do not answer hold up what needs them, and nothing else.

use std::fs;

use nix::sys::signal::Signal;
use rustix::fs::{CWD, FileType, mknodat};
use serde_json::json;
use tests::{DEV, Env, HungDisk, LONG, Need, Proxy, SHORT, World, requires, wait_until};

use super::signal;

/// Each write to the script's log takes far longer than this test.
#[test]
fn a_log_on_a_disk_that_hangs_does_not_hold_up_the_agent() {
    let needs = [Need::Program("strace", "strace")];
    if !requires("a_log_on_a_disk_that_hangs_does_not_hold_up_the_agent", &needs) {
        return;
    }
    let env = Env::new();
    let logs = env.path("slow-logs");
    fs::create_dir(&logs).unwrap();
    let log = logs.join("flood.log");
    fs::write(&log, "").unwrap();
    let flood = "head -c 3000000 /dev/zero | tr '\\0' x";
    let script = json!({ "display_name": "Flood", "run_on_start": true, "log_path": log, "script": flood });
    let agent = json!({ "name": "main", "scripts": [script] });
    let definition = json!({ "owner": "alice", "name": "dev", "agent": agent }).to_string();
    let world = World::builder().within(env).with(&definition);
    let value = world.alice.secret("token", &["--env", "TOKEN"]);
    let home = world.env.new_home("homes/slow");
    fs::write(home.join("expected"), value).unwrap();
    let run = world.agent().home(&home).into_run();
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-P", log.to_str().unwrap()];
    let run = run.under("/usr/bin/strace", [&strace[..], &["-e", "inject=write:delay_enter=1000000000"]].concat());
    let _agent = run.spawn("agent");
    let coder = |args: &[&str]| {
        world.env.coder(args).env("CODER_AGENT_SOCKET", home.join("agent.sock")).env("HOME", &home).run()
    };
    // It ends although nobody takes its output.
    world.workspace.wait_lifecycle("ready");
    let _ = coder(&["exec", "sh", "-c", "printf %s \"$TOKEN\" | cmp - ~/expected"]).success();
    let _ = coder(&["agent", "reload"]).success();
    let _ = coder(&["status"]).success().says("Flood");
    signal(&world, &home.join("agent.sock"), Signal::SIGKILL);
}

/// A supervisor that does not read.
#[test]
fn a_full_pipe_on_standard_error_does_not_hold_up_the_agent() {
    let world = World::with(DEV);
    let home = world.env.new_home("homes/pipe");
    let script = "mkfifo pipe && exec 3<>pipe && head -c 65536 /dev/zero >&3 && exec \"$@\" 2>pipe";
    let run = world.agent().home(&home).into_run().cwd(&home);
    let mut agent = run.under("/bin/sh", ["-c", script, "sh"]).spawn("agent");
    world.workspace.wait_lifecycle("ready");
    let status = world.env.coder(["status"]).env("CODER_AGENT_SOCKET", home.join("agent.sock"));
    let _ = status.run().success();
    assert_eq!(agent.terminate().code, Some(0));
}

/// Opening a FIFO waits for a writer, as opening a file waits for a network file system that is gone.
#[test]
fn a_token_file_that_does_not_answer_leaves_the_last_token() {
    let world = World::with(DEV);
    let proxy = Proxy::new(&world.server);
    let home = world.env.new_home("homes/token");
    let token = home.join("token");
    fs::write(&token, world.workspace.token()).unwrap();
    let agent = world.env.agent(&proxy, &world.workspace).home(&home).without("CODER_AGENT_TOKEN");
    let agent = agent.args(["--agent-token-file", token.to_str().unwrap()]).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    fs::remove_file(&token).unwrap();
    mknodat(CWD, &token, FileType::Fifo, 0o600.into(), 0).unwrap();
    proxy.cut();
    wait_until("another connection", LONG, || world.server.stderr().matches("agent connected").count() == 2);
    // The server knows of it a moment before the agent does.
    wait_until("a reload over it", LONG, || agent.coder(["agent", "reload"]).run().exit.code == Some(0));
}

/// The kernel waits for the disk inside of exec.
#[test]
fn a_program_on_a_disk_that_hangs_holds_up_its_own_launch_alone() {
    if !requires("a_program_on_a_disk_that_hangs_holds_up_its_own_launch_alone", &HungDisk::NEEDS) {
        return;
    }
    let world = World::new();
    let home = world.env.new_home("homes/hung");
    let remote = home.join("remote");
    fs::create_dir(&remote).unwrap();
    let hung = |name: &str| json!({ "display_name": name, "run_on_start": true, "timeout": 2, "script": format!("#!{}/{name}", remote.display()) });
    let local = json!({ "display_name": "Local", "run_on_start": true, "script": "touch ~/local" });
    let item = json!({ "key": "hung", "display_name": "Hung", "script": format!("#!{}/item", remote.display()), "interval": 1, "timeout": 1 });
    let workspace = world.workspace(json!({ "scripts": [hung("one"), local, hung("two")], "metadata": [item] }));
    let value = world.alice.secret("token", &["--env", "TOKEN"]);
    fs::write(home.join("expected"), value).unwrap();
    let disk = HungDisk::over(&remote);
    let mut agent = world.agent(&workspace).home(&home).start().listening();
    let exec = |script: &str| agent.coder(["exec", "--wait", "20s", "sh", "-c", script]).env("HOME", &home).run();
    let _ = exec("printf %s \"$TOKEN\" | cmp - ~/expected").success();
    wait_until("the script beside those that hang", SHORT, || home.join("local").exists());
    workspace.wait_lifecycle("start_timeout");
    for name in ["one", "two"] {
        let shown = agent.coder(["status"]).run().success().stdout;
        let line = shown.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or(&shown);
        assert!(line.contains("timed out"), "{line}");
    }
    let _ = exec("true").success();
    let start = std::time::Instant::now();
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert!(start.elapsed() < SHORT, "{:?}", start.elapsed());
    drop(disk);
}

/// As an image whose programs are on a volume.
#[test]
fn a_main_process_on_a_disk_that_hangs_can_be_given_up() {
    if !requires("a_main_process_on_a_disk_that_hangs_can_be_given_up", &HungDisk::NEEDS) {
        return;
    }
    let world = World::with(DEV);
    let home = world.env.new_home("homes/hung-main");
    let remote = home.join("remote");
    fs::create_dir(&remote).unwrap();
    let _disk = HungDisk::over(&remote);
    let program = remote.join("server");
    let mut agent = world.agent().home(&home).command([&program]).start().listening();
    world.workspace.wait_lifecycle("ready");
    let _ = agent.coder(["exec", "--wait", "20s", "true"]).run().success();
    assert_eq!(agent.terminate().code, Some(143), "{}", agent.stderr());
}
