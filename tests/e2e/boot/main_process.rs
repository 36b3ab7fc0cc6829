//! `coder agent -- COMMAND`: the image's entrypoint, with everything it needs.

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Fault, Need, Proxy, SHORT, binaries, requires};

use super::{World, on_start, on_stop, result, states};

#[test]
fn its_exit_code_is_the_agents() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let file = world.env.write("no-program", "just text");
    for (command, expected) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "exit 255"], 255),
        (vec!["sh", "-c", "kill -TERM $$"], 128 + 15),
        (vec!["sh", "-c", "kill -KILL $$"], 128 + 9),
        (vec!["sh", "-c", "kill -SEGV $$"], 128 + 11),
        (vec!["no-such-program-here"], 127),
        (vec!["/no/such/program"], 127),
        (vec![file.to_str().unwrap()], 126),
        (vec!["/tmp"], 126),
    ] {
        let mut agent = world.agent(&workspace).command(&command).start();
        assert_eq!(agent.exit().code, Some(expected), "{command:?}: {}", agent.stderr());
    }
}

/// Arguments as they are, its place as the image has it, and nothing of the agent's own left open.
#[test]
fn it_gets_its_arguments_directory_and_descriptors_untouched() {
    let world = World::new();
    world.alice.secret("key", &["--env", "KEY"]);
    let workspace = world.workspace(json!({ "dir": "/" }));
    let script = "printf '<%s>' \"$@\" > ~/arguments; pwd > ~/where; ls /proc/self/fd > ~/fds; umask > ~/umask";
    let command = ["sh", "-c", script, "name", "a b", "", "--flag", "$HOME", "*", "ü"];
    let mut agent = world.agent(&workspace).command(command).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("arguments"), "<a b><><--flag><$HOME><*><ü>");
    assert_eq!(agent.read("where").trim_end(), world.env.path("work").display().to_string());
    // The three of every process; the fourth is the directory that `ls` reads.
    assert_eq!(agent.read("fds"), "0\n1\n2\n3\n");
}

#[test]
fn it_reads_standard_input_and_writes_standard_output() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let run = world.agent(&workspace).command(["sh", "-c", "cat; echo to stderr >&2"]).into_run();
    let out = run.stdin("typed\nby somebody").run().success().complains("to stderr");
    assert_eq!(out.stdout, "typed\nby somebody");
}

/// In the foreground of the terminal, or reading from it would stop the process.
#[test]
fn it_owns_the_terminal() {
    if !requires("it_owns_the_terminal", &[Need::Program("script", "bsdutils")]) {
        return;
    }
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let main = world.env.write("main.sh", "read -r line; printf %s \"$line\" > ~/line; [ -t 0 ] && [ -t 1 ] && exit 6");
    let home = world.home();
    let root = if rustix::process::geteuid().is_root() { "--allow-root" } else { "" };
    let line = format!(
        "'{}' agent {root} --agent-url {} --log-dir '{}' -- sh '{}'",
        binaries().coder.display(),
        world.server.url(),
        world.env.path("tmp").display(),
        main.display(),
    );
    let run = world.env.program("/usr/bin/script").args(["-q", "-e", "-c", &line, "/dev/null"]);
    let run = run.env("CODER_AGENT_TOKEN", workspace.token()).env("HOME", &home).env("SHELL", "/bin/sh");
    let run = run.env("CODER_AGENT_SOCKET", home.join("agent.sock")).stdin("a line\n");
    let _ = run.run().exits(6);
    assert_eq!(std::fs::read_to_string(home.join("line")).unwrap(), "a line");
}

/// With the server away nothing starts; when it is back, the files are there before the first instruction.
#[test]
fn it_waits_for_the_files() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY", "--file", "~/key"]);
    let workspace = world.workspace(json!({}));
    let proxy = Proxy::new(world.server.url());
    proxy.set(Fault::Refuse);
    let main = "cat ~/key > ~/read && printf %s \"$KEY\" > ~/saw";
    let mut agent = world.env.agent(&proxy, &workspace).command(["sh", "-c", main]).start();
    agent.line_with("trying again until it works", SHORT);
    assert!(!agent.home().join("read").exists());
    proxy.set(Fault::None);
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!((agent.read("read"), agent.read("saw")), (key.clone(), key));
}

#[test]
fn it_starts_without_secrets_where_the_user_would_rather_have_it_than_wait() {
    let world = World::new();
    world.alice.secret("key", &["--env", "KEY"]);
    let workspace = world.workspace(json!({}));
    let proxy = Proxy::new(world.server.url());
    proxy.set(Fault::Stall);
    let main = "printf '<%s> <%s>' \"$KEY\" \"$CODER\" > ~/saw; exit 3";
    let agent = world.env.agent(&proxy, &workspace).args(["--start-without-secrets", "200ms"]);
    let mut agent = agent.command(["sh", "-c", main]).start();
    assert_eq!(agent.exit().code, Some(3), "{}", agent.stderr());
    assert_eq!(agent.read("saw"), "<> <true>");
    assert!(agent.stderr().contains("no secrets after 200ms: starting without them"), "{}", agent.stderr());
}

/// With the secrets in time, the patience that was left makes no difference.
#[test]
fn it_gets_the_secrets_when_they_come_before_patience_ends() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY"]);
    let workspace = world.workspace(json!({}));
    let agent = world.agent(&workspace).args(["--start-without-secrets", "10m"]);
    let mut agent = agent.command(["sh", "-c", "printf %s \"$KEY\" > ~/saw"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("saw"), key);
}

#[test]
fn an_agent_that_is_stopped_while_it_waits_starts_nothing() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let proxy = Proxy::new(world.server.url());
    proxy.set(Fault::Refuse);
    for (signal, expected) in [(Signal::SIGTERM, 128 + 15), (Signal::SIGINT, 128 + 2)] {
        let mut agent = world.env.agent(&proxy, &workspace).command(["sh", "-c", "touch ~/ran"]).start();
        agent.line_with("trying again until it works", SHORT);
        agent.signal(signal);
        assert_eq!(agent.exit().code, Some(expected), "{}", agent.stderr());
        assert!(!agent.home().join("ran").exists());
    }
}

#[test]
fn stop_scripts_run_after_it_has_ended() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY"]);
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Start", "echo start >> ~/order; touch ~/started"),
        on_stop("Stop", "echo stop >> ~/order; printf %s \"$KEY\" > ~/stop-saw"),
    ] }));
    let main = "until [ -e ~/started ]; do sleep 0.02; done; echo main >> ~/order; exit 8";
    let mut agent = world.agent(&workspace).command(["sh", "-c", main]).start();
    assert_eq!(agent.exit().code, Some(8), "{}", agent.stderr());
    assert_eq!((agent.read("order").as_str(), agent.read("stop-saw")), ("start\nmain\nstop\n", key));
    assert_eq!(result(&workspace, "Stop"), "ok 0");
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
}

/// It waits for the files, not for scripts that a template may let run for minutes; and these are not cut off at once.
#[test]
fn it_does_not_wait_for_startup_scripts_and_lets_them_finish() {
    let world = World::new();
    let script = "until [ -e ~/main-was-here ]; do sleep 0.02; done; touch ~/script-done";
    let workspace = world.workspace(json!({ "scripts": [on_start("Wait", script)] }));
    let mut agent = world.agent(&workspace).command(["sh", "-c", "touch ~/main-was-here"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert!(agent.home().join("script-done").exists());
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
}
