//! What a process inherits besides variables and descriptors.

use nix::sys::signal::Signal;
use tests::{DEV, LONG, Need, World, requires, wait_until};

use super::signal;

/// Blocks and ignores every signal that can be, and becomes the agent.
const DEAF: &str = "import os, signal, sys
every = [s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]
for s in every: signal.signal(s, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, every)
os.execv(sys.argv[1], sys.argv[1:])";

const SEES: &str = r"
owner: alice
name: dev
agent:
  name: main
  scripts: [{ display_name: See, run_on_start: true, script: 'grep ^Sig /proc/self/status > ~/new; mv ~/new ~/seen' }]
";

#[test]
fn an_agent_that_was_started_deaf_hears_and_so_do_its_scripts() {
    let needs = [Need::Program("python3", "python3-minimal")];
    if !requires("an_agent_that_was_started_deaf_hears_and_so_do_its_scripts", &needs) {
        return;
    }
    let world = World::with(SEES);
    let home = world.env.new_home("homes/deaf");
    let run = world.agent().home(&home).into_run();
    let mut agent = run.under("/usr/bin/python3", ["-c", DEAF]).spawn("agent");
    wait_until("the script", LONG, || home.join("seen").exists());
    let seen = std::fs::read_to_string(home.join("seen")).unwrap();
    for mask in ["SigBlk", "SigIgn"] {
        let line = seen.lines().find(|line| line.starts_with(mask)).unwrap();
        let bits = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
        assert_eq!(bits, 0, "{seen}");
    }
    world.workspace.wait_lifecycle("ready");
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    world.workspace.wait_lifecycle("off");
}

/// As the seccomp filter of an engine that is older than the C library.
#[test]
fn where_no_thread_can_be_had_all_is_done_on_one() {
    let needs = [Need::Program("strace", "strace")];
    if !requires("where_no_thread_can_be_had_all_is_done_on_one", &needs) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("token", &["--env", "TOKEN", "--file", "~/.token"]);
    let home = world.env.new_home("homes/single");
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:error=EPERM"];
    let named = world.server.url().replace("127.0.0.1", "localhost");
    let agent = world.env.agent(&named, &world.workspace).home(&home);
    let mut agent = agent.into_run().under("/usr/bin/strace", strace).spawn("agent");
    world.workspace.wait_lifecycle("ready");
    assert_eq!(std::fs::read_to_string(home.join(".token")).unwrap(), value);
    let coder = |args: &[&str]| world.env.coder(args).env("CODER_AGENT_SOCKET", home.join("agent.sock")).run();
    let _ = coder(&["exec", "sh", "-c", "test -n \"$TOKEN\""]).success();
    let _ = coder(&["agent", "reload"]).success();
    let _ = coder(&["status"]).success();
    let line = agent.line_with("no threads can be started", LONG);
    assert!(line.contains("Operation not permitted") && line.contains("seccomp"), "{line}");
    signal(&world, &home.join("agent.sock"), Signal::SIGTERM);
    assert_eq!(agent.exit_within(LONG).code, Some(0), "{}", agent.stderr());
}
