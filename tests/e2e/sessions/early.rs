//! `coder exec` before there is an agent.

use tests::{Env, LONG, wait_until};

use super::*;

#[test]
fn without_an_agent_it_fails_at_once_unless_it_is_told_to_wait() {
    let env = Env::new();
    let nowhere = env.path("tmp/agent.sock");
    for wait in [&[][..], &["--wait", "300ms"]] {
        let exec = env.coder(["exec"]).args(wait).arg("true").env("CODER_AGENT_SOCKET", &nowhere);
        let output = exec.run().exits(1).complains("no agent of this user runs here: nothing listens on /");
        let _ = output.complains("coder exec --wait 30s");
    }
}

/// Only `exec` can wait for an agent, so no other command says so.
#[test]
fn without_an_agent_each_command_says_what_helps_it() {
    let env = Env::new();
    for command in [&["status"][..], &["env"], &["agent", "reload"]] {
        let output = env.coder(command).env("CODER_AGENT_SOCKET", env.path("tmp/agent.sock")).run().exits(1);
        let output = output.complains("\nStart one with \"coder agent\", or the service coder-agent@USER.\n");
        assert!(!output.stderr.contains("coder exec"), "{}", output.stderr);
        let of_root = format!("runuser -u USER -- coder {}", command.join(" "));
        assert_eq!(output.stderr.contains(&of_root), rustix::process::geteuid().is_root(), "{}", output.stderr);
    }
}

#[test]
fn it_waits_for_the_agent_beside_which_it_was_started() {
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let home = world.env.new_home("homes/early");
    let exec = ["exec", "--wait", "2m", "sh", "-c", "printf %s \"$API_KEY\" > \"$SAW\""];
    let exec = world.env.coder(exec).env("CODER_AGENT_SOCKET", home.join("agent.sock")).env("SAW", home.join("saw"));
    let mut exec = exec.spawn("exec");
    // It sleeps only after it has looked and found no agent.
    let status = format!("/proc/{}/status", exec.pid());
    let sleeps = || std::fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tS"));
    wait_until("a look in vain", LONG, sleeps);
    let _agent = world.agent().home(&home).start();
    assert_eq!(exec.exit_within(LONG).code, Some(0), "{}", exec.stderr());
    assert_eq!(std::fs::read_to_string(home.join("saw")).unwrap(), value);
}
