//! Whoever waits is told what for.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use nix::sys::signal::Signal;
use tests::{Env, LONG, Process, SHORT};

use super::*;

#[track_caller]
fn ends_by_interrupt(mut process: Process) {
    process.signal(Signal::SIGINT);
    assert_eq!(process.exit_within(SHORT).signal, Some(Signal::SIGINT as i32), "{}", process.stderr());
}

#[test]
fn while_the_workspace_boots_each_command_says_what_it_waits_for_and_can_be_interrupted() {
    let world = with_key();
    let (_proxy, agent) = booting(&world);
    let agent = agent.start().listening();
    for (args, what) in [
        (&["exec", "true"][..], "up to 30s for the secrets of this workspace (cannot reach 127.0.0.1"),
        (&["env"], "up to 30s for the secrets of this workspace (cannot reach 127.0.0.1"),
        (&["session"], "up to 10s for the secrets of this workspace (cannot reach 127.0.0.1"),
    ] {
        let mut process = agent.coder(args).spawn("waiting");
        let line = process.line_with("waiting", LONG);
        assert!(line.starts_with(&format!("coder: waiting {what}")), "{line}");
        assert!(line.ends_with("; press Ctrl-C to stop"), "{line}");
        ends_by_interrupt(process);
    }
}

#[test]
fn what_takes_no_second_says_nothing() {
    let world = with_key();
    let agent = ready(&world);
    for args in [&["exec", "true"][..], &["session"]] {
        assert_eq!(agent.coder(args).stdin("").run().success().stderr, "");
    }
}

#[test]
fn who_waits_for_an_agent_is_told_where_it_is_looked_for() {
    let env = Env::new();
    let nowhere = env.path("tmp/agent.sock");
    let mut exec =
        env.coder(["exec", "--wait", "1m", "true"]).env("CODER_AGENT_SOCKET", &nowhere).terminal("").spawn("exec");
    let line = exec.line_with("waiting", LONG);
    let expected = "coder: waiting up to 60s for an agent: no agent of this user runs here: nothing listens on /";
    assert!(line.starts_with(expected), "{line}");
    ends_by_interrupt(exec);
}

/// An agent that is stopped, as by a debugger, still has its socket.
#[test]
fn an_agent_that_does_not_answer_is_named() {
    let world = World::with(DEV);
    let agent = ready(&world);
    agent.signal(Signal::SIGSTOP);
    for (args, what) in [
        (&["status"][..], "for the agent to answer"),
        (&["agent", "reload"], "up to 30s for the agent to fetch and deliver the secrets"),
    ] {
        let mut process = agent.coder(args).spawn("waiting");
        let line = process.line_with("waiting", LONG);
        assert_eq!(line, format!("coder: waiting {what}; press Ctrl-C to stop"));
        ends_by_interrupt(process);
    }
    agent.signal(Signal::SIGCONT);
}

/// As an agent that runs since before an upgrade answers: in a format of its own, whose first byte is 1.
#[test]
fn an_agent_from_before_an_upgrade_is_named_and_told_nothing() {
    let env = Env::new();
    let socket = env.path("tmp/old.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let old = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 5];
        stream.read_exact(&mut question).unwrap();
        let mut answer = vec![1, 6, 4, 0, 0, 0];
        answer.extend(b"what");
        stream.write_all(&u32::try_from(answer.len()).unwrap().to_le_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
        question[4]
    });
    let output = env.coder(["exec", "true"]).env("CODER_AGENT_SOCKET", &socket).run().exits(1);
    let _ = output.complains("restart it if it was upgraded: it does not speak the language of this version");
    assert_eq!(old.join().unwrap(), 2, "the version comes first");
}
