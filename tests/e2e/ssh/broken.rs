//! A broken agent locks nobody out.

use nix::sys::signal::Signal;
use tests::{Fault, LONG, Proxy};

use super::logins::Logins;

/// Succeeds where the variable is exactly the file in the account's home.
const COMPARE: &str = "printf %s \"$API_KEY\" | cmp - ~/expected";

#[test]
fn without_an_agent_the_user_gets_in_and_is_told() {
    let test = "without_an_agent_the_user_gets_in_and_is_told";
    let Some(world) = Logins::new(test) else { return };
    let command = world.ssh(["h", "echo in"]).run().success();
    // A command that waits says so, too: what waits in silence looks broken.
    assert_eq!((command.stdout.as_str(), command.stderr.lines().count()), ("in\n", 1));
    let _ = command.complains("coder: waiting up to 10s for an agent: no agent of this user runs here");
    let shell = world.ssh(["-tt", "h"]).terminal("exit\n").run().success();
    let told = shell.stdout.lines().filter(|line| line.contains("this session has no secrets: no agent of this user"));
    assert_eq!(told.count(), 1, "{}", shell.stdout);
}

#[test]
fn an_agent_that_hangs_keeps_nobody_out() {
    let Some(world) = Logins::new("an_agent_that_hangs_keeps_nobody_out") else { return };
    let agent = world.agent();
    agent.signal(Signal::SIGSTOP);
    let _ = world.ssh(["h", "echo in"]).run().success().says("in");
    agent.signal(Signal::SIGCONT);
}

#[test]
fn a_session_that_comes_early_waits_for_the_workspace() {
    let Some(world) = Logins::new("a_session_that_comes_early_waits_for_the_workspace") else { return };
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    world.account.write("expected", &value);
    let proxy = Proxy::new(&world.server);
    proxy.set(Fault::Refuse);
    let mut agent = world.start_agent_of(proxy.url());
    let _ = agent.line_with("refused", LONG);
    let mut early = world.ssh(["h", COMPARE]).spawn("early");
    proxy.set(Fault::None);
    assert_eq!(early.exit_within(LONG).code, Some(0), "{}", early.stderr());
}

#[test]
fn an_agent_that_is_killed_takes_no_session_with_it_and_its_successor_serves_the_next() {
    let test = "an_agent_that_is_killed_takes_no_session_with_it_and_its_successor_serves_the_next";
    let Some(world) = Logins::new(test) else { return };
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    world.account.write("expected", &value);
    let mut agent = world.agent();
    let mut running =
        world.ssh(["h", &format!("echo up; until test -e ~/go; do sleep 0.1; done; {COMPARE}")]).spawn("running");
    let _ = running.line_with("up", LONG);
    agent.kill();
    // It arrives while there is no agent.
    let mut next = world.ssh(["h", COMPARE]).spawn("next");
    let _agent = world.start_agent();
    assert_eq!(next.exit_within(LONG).code, Some(0), "{}", next.stderr());
    world.account.write("go", "");
    assert_eq!(running.exit_within(LONG).code, Some(0), "{}", running.stderr());
}
