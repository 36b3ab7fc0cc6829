//! A broken agent keeps nobody out.

use super::world::{Booted, agent_of};

const ALICE: &str = "alice";

/// Logs in with every way that goes on without an agent, in a session that starts the user's service manager.
#[track_caller]
fn everybody_gets_in(world: &Booted, told: Option<&str>) {
    world.machine.sh("loginctl terminate-user alice || true; systemctl stop user@$(id -u alice).service");
    let service = "systemd-run --user --wait --pipe --quiet sh -c 'echo \"in${QUOTES-}\"'";
    let shell = world.ssh(ALICE).arg("-tt").terminal(format!("{service}; exit\n")).reveals().run().success();
    assert!(shell.stdout.contains("\nin\r\n"), "{}", shell.stdout);
    let warnings: Vec<_> = shell.stdout.lines().filter(|line| line.contains("this session has no secrets")).collect();
    assert_eq!(warnings.len(), told.iter().count(), "{}", shell.stdout);
    assert!(warnings.iter().all(|line| line.contains(told.unwrap_or_default())), "{}", shell.stdout);
    let su = world.machine.run(["su", "-", ALICE, "-c", "echo \"in${QUOTES-}\""]).run().success();
    assert_eq!((su.stdout.as_str(), su.stderr.as_str()), ("in\n", ""));
}

pub(super) fn hangs(world: &Booted) {
    world.machine.sh("systemctl kill --kill-whom=main --signal=STOP coder-agent@alice");
    everybody_gets_in(world, Some("no answer from the agent on /run/coder-agent/alice/agent.sock: timed out"));
    world.machine.sh("systemctl kill --kill-whom=main --signal=CONT coder-agent@alice");
    let _ = world.ssh(ALICE).arg("test -n \"$QUOTES\"").run().success();
}

pub(super) fn stopped(world: &Booted) {
    world.machine.sh(&format!("systemctl stop {}", agent_of(ALICE)));
    everybody_gets_in(world, Some("no agent of this user runs here"));
    let job = world.machine.sh_as(ALICE, "/usr/bin/coder exec -- true").run().exits(1);
    let _ = job.complains("no agent of this user runs here");
}

pub(super) fn removed(world: &Booted) {
    world.machine.sh("rm /usr/bin/coder");
    everybody_gets_in(world, None);
    let command = world.ssh(ALICE).arg("echo \"a  b\"; exit 5").run().exits(5);
    assert_eq!((command.stdout.as_str(), command.stderr.as_str()), ("a  b\n", ""));
}
