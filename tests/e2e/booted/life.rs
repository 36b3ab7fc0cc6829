//! How an agent ends, and what comes after.

use tests::{LONG, SHORT, wait_until};

use super::machine::Machine;
use super::world::{Booted, SERVER, agent_of};

/// Fails where the session has no secrets.
const HAS_SECRETS: &str = "test -n \"$QUOTES\"";
/// What a service of the user does that is started with the machine.
const WAITING: &str = "test -n \"$QUOTES\" && touch ~/waiting; exec sleep infinity";

/// Waits until a successor of the agent is there; before that, sessions wait by themselves.
fn wait_restarted(machine: &Machine, unit: &str, before: &str) {
    wait_until("a restart of the agent", LONG, || {
        machine.property(unit, "NRestarts") != before && machine.property(unit, "ActiveState") == "active"
    });
}

pub(super) fn killed(world: &Booted) {
    let (machine, unit) = (&world.machine, agent_of("alice"));
    let restarts = machine.property(&unit, "NRestarts");
    let script = format!("echo up; until test -e ~/go; do sleep 0.1; done; {HAS_SECRETS} && echo alive");
    let mut session = world.ssh("alice").arg(script).spawn("session");
    let _ = session.line_with("up", SHORT);
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}"));
    let _ = world.ssh("alice").arg(HAS_SECRETS).run().success();
    wait_restarted(machine, &unit, &restarts);
    let _ = machine.sh_as("alice", "touch ~/go").run().success();
    assert_eq!(session.exit_within(SHORT).code, Some(0), "{}", session.stderr());
    assert!(session.stdout().contains("alive"));
}

/// The minute of the unit is shortened, nothing else.
pub(super) fn watchdog(world: &Booted) {
    let (machine, unit) = (&world.machine, agent_of("alice"));
    let drop_in = format!("/run/systemd/system/{unit}.d/watchdog.conf");
    machine.write(&drop_in, "0644", "[Service]\nWatchdogSec=5\n");
    machine.sh(&format!("systemctl daemon-reload && systemctl restart {unit}"));
    let restarts = machine.property(&unit, "NRestarts");
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=STOP {unit}"));
    // It asks an agent that does not answer, loses it, and finds its successor.
    let _ = world.ssh("alice").arg(HAS_SECRETS).run().success();
    wait_restarted(machine, &unit, &restarts);
    assert!(machine.journal(&unit).contains("Watchdog timeout (limit 5s)!"));
    machine.sh(&format!("rm {drop_in} && systemctl daemon-reload && systemctl restart {unit}"));
}

pub(super) fn stop(world: &Booted) {
    let (machine, unit) = (&world.machine, agent_of("alice"));
    machine.sh(&format!("rm -f /home/alice/stopped; systemctl stop {unit}"));
    assert_eq!(machine.read("/home/alice/stopped"), b"stopped\n");
    assert_eq!(machine.property(&unit, "Result"), "success");
    assert_eq!(machine.property(&unit, "ExecMainStatus"), "0");
    assert_eq!(world.show_agent()["lifecycle_state"], "off");
    machine.sh(&format!("systemctl start {unit}"));
}

/// With a session and services of the user running, and with the server on the same machine.
pub(super) fn power_off(world: &mut Booted) {
    let mut session = world.ssh("alice").arg("echo up; sleep 1000").spawn("session");
    let _ = session.line_with("up", SHORT);
    world.machine.sh("rm -f /home/alice/stopped; loginctl enable-linger alice");
    let home = "/home/alice/.config/systemd/user";
    let service = format!("[Service]\nExecStart=/usr/bin/coder exec --wait 5m -- sh -c '{WAITING}'\n");
    world.machine.write(&format!("{home}/waiting.service"), "0644", service);
    world.machine.sh(&format!(
        "install -d {home}/default.target.wants && ln -s ../waiting.service {home}/default.target.wants/"
    ));
    world.machine.sh("chown -R alice /home/alice/.config");
    world.machine.sh(&format!("systemctl disable {SERVER}"));
    world.machine.power_off();
    assert_eq!(world.file_of_disk("home/alice/stopped"), "stopped\n");
    for unit in [agent_of("alice"), SERVER.to_owned()] {
        let journal = world.machine.journal(&unit);
        let (_, end) = journal.rsplit_once("Stopping ").expect("it was stopped");
        assert!(end.contains("Deactivated successfully"), "{end}");
        for trouble in ["timed out", "Killing", "not told"] {
            assert!(!end.contains(trouble), "{end}");
        }
    }
}

pub(super) fn boot_without_server(world: &mut Booted) {
    world.machine.boot_again();
    let (machine, unit) = (&world.machine, agent_of("alice"));
    machine.wait_property(&unit, "ActiveState", "activating");
    let shell = world.ssh("alice").arg("-tt").terminal("exit\n").run().success();
    let told = shell.stdout.lines().filter(|line| line.contains("this session has no secrets: "));
    assert_eq!(told.count(), 1, "{}", shell.stdout);
    let _ = world.ssh("alice").arg("test -z \"${QUOTES-}\"").run().success();
    assert_eq!(machine.property(SERVER, "ActiveState"), "inactive");
    let in_service = |test: &str| {
        let run = format!("systemd-run --user --wait --pipe --quiet {test}");
        machine.sh_as("alice", &format!("export XDG_RUNTIME_DIR=/run/user/$(id -u); {run}")).run().exit.code
    };
    // alice lingers, so her service manager was started with the machine.
    assert_eq!(in_service(&format!("sh -c '{HAS_SECRETS}'")), Some(1));
    assert!(!machine.exists("/home/alice/waiting"));
    machine.sh(&format!("systemctl start {SERVER}"));
    wait_until("a delivery", LONG, || machine.property(&unit, "StatusText").starts_with("delivered "));
    let _ = world.ssh("alice").arg(HAS_SECRETS).run().success();
    wait_until("the service that waits", LONG, || machine.exists("/home/alice/waiting"));
    machine.wait_property(&unit, "ActiveState", "active");
    machine.sh(&format!("systemctl reload {unit}"));
    assert_eq!(in_service(&format!("sh -c '{HAS_SECRETS}'")), Some(0));
    machine.wait_booted();
}
