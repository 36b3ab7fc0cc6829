//! Who gets an answer, and what becomes of those who ask nonsense.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tests::{LONG, SHORT, wait_until};

use super::*;

#[test]
fn without_an_agent_there_is_no_environment() {
    let world = World::with(DEV);
    let socket = world.env.path("nobody.sock");
    for args in [&["exec", "true"][..], &["env"], &["status"], &["agent", "reload"]] {
        let output = world.env.coder(args).env("CODER_AGENT_SOCKET", &socket).run();
        let _ = output.exits(1).complains("no agent of this user runs here: nothing listens on /");
    }
    let relative = world.env.coder(["exec", "true"]).env("CODER_AGENT_SOCKET", "agent.sock").run();
    let _ = relative.exits(1).complains("CODER_AGENT_SOCKET must be an absolute path");
}

/// They come while the workspace boots, so that all of them wait at once.
#[test]
fn two_hundred_at_once_lose_nothing() {
    let world = with_key();
    let (proxy, agent) = booting(&world);
    let agent = agent.start().listening();
    let mut processes: Vec<_> =
        (0..200).map(|_| agent.coder(["exec", "--wait", "5m", "sh", "-c", COMPARE]).spawn("exec")).collect();
    assert!(processes.iter_mut().all(|process| process.try_exit().is_none()));
    proxy.set(Fault::None);
    for process in &mut processes {
        assert_eq!(process.exit_within(LONG).code, Some(0), "{}", process.stderr());
    }
}

#[test]
fn a_launch_waits_for_the_boot_as_long_as_it_is_told_to() {
    let world = with_key();
    let (proxy, agent) = booting(&world);
    let agent = agent.start().listening();
    let early = agent.coder(["exec", "--wait", "50ms", "true"]).run().exits(1);
    let _ = early.complains("the workspace still waits for its secrets after 50ms; see \"coder status\"");
    let status = agent.coder(["status", "-o", "json"]).run().exits(1).json();
    assert_eq!((&status["state"], &status["revision"]), (&"booting".into(), &serde_json::Value::Null));
    assert_ne!(status["connection"], "connected");

    let mut waiting = agent.coder(["exec", "--wait", "1m", "sh", "-c", COMPARE]).spawn("exec");
    proxy.set(Fault::None);
    assert_eq!(waiting.exit_within(LONG).code, Some(0), "{}", waiting.stderr());
}

#[test]
fn with_start_without_secrets_a_launch_says_what_is_missing() {
    let world = World::with(DEV);
    let (_proxy, agent) = booting(&world);
    let agent = agent.args(["--start-without-secrets", "10ms"]).start().listening();
    let output = agent.coder(["exec", "echo", "ran"]).run().success().says("ran");
    let _ = output.complains("Warning: the workspace is not as it should be: no secrets after 10ms");
    let _ = agent.coder(["status"]).run().exits(1).says("degraded: no secrets after 10ms");
}

#[test]
fn a_killed_agent_leaves_sessions_alone_and_its_successor_takes_over() {
    let world = with_key();
    let mut agent = ready(&world);
    let mut session =
        agent.coder(["exec", "sh", "-c", "echo up; read line; echo got $line"]).terminal("").spawn("session");
    let _ = session.line_with("up", SHORT);
    agent.kill();
    assert!(agent.socket().exists(), "what a killed agent leaves behind");
    assert_eq!(session.try_exit(), None);
    let _ = agent.coder(["exec", "true"]).run().exits(1).complains("no agent of this user runs here");

    let home = agent.home().to_owned();
    let mut successor = world.agent().home(&home).start();
    wait_until("the successor's socket", SHORT, || successor.coder(["status"]).run().exit.code == Some(0));
    let _ = successor.coder(["exec", "sh", "-c", COMPARE]).run().success();
    assert_eq!(session.try_exit(), None);
    assert_eq!(successor.terminate().code, Some(0));
    assert!(!successor.socket().exists(), "an agent that ends takes its socket away");
}

#[test]
fn a_second_agent_of_a_user_is_refused_and_the_first_named() {
    let world = World::with(DEV);
    let agent = ready(&world);
    let second = world.agent().env("CODER_AGENT_SOCKET", agent.socket());
    let output = second.into_run().run().exits(2);
    let _ = output.complains(&format!("another agent of this user runs already as process {}", agent.pid()));
    let _ = agent.coder(["exec", "true"]).run().success();
}

#[test]
fn the_socket_is_complete_and_closed_to_others() {
    let world = World::with(DEV);
    let agent = ready(&world);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(agent.socket()), 0o600);
    let lock = agent.home().join("agent.sock.lock");
    assert_eq!(mode(lock), 0o600);
}

/// What the agent sends back before it hangs up.
fn answer(agent: &Agent, question: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(agent.socket()).unwrap();
    stream.set_read_timeout(Some(SHORT)).unwrap();
    stream.write_all(question).unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    // A reset says the same: the agent did not read what was too much.
    assert!(ended.is_ok() || ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
    answer
}

#[test]
fn nonsense_is_refused_and_harms_nobody() {
    let world = with_key();
    let agent = ready(&world);
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(agent.socket()).unwrap()).collect();
    assert_eq!(answer(&agent, b"GET / HTTP/1.1\r\n\r\n"), b"", "a length beyond the limit");
    assert_eq!(answer(&agent, &u32::MAX.to_le_bytes()), b"");
    assert!(String::from_utf8_lossy(&answer(&agent, b"\x04\0\0\0nope")).contains("language of this version"));
    assert!(String::from_utf8_lossy(&answer(&agent, b"\x02\0\0\0\x01\x03")).contains("language of this version"));
    assert!(String::from_utf8_lossy(&answer(&agent, b"\x02\0\0\0\x02\x63")).contains("malformed"));
    assert_eq!(answer(&agent, b"\x10\0\0\0half a que"), b"", "a question that never ends");
    let _ = agent.coder(["exec", "sh", "-c", COMPARE]).run().success();
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "a client that says nothing is not waited for");
    }
}
