//! coder-agent@.service

use tests::{LONG, wait_until};

use super::world::{Booted, SERVER, agent_of};

const FILE: &str = "/home/alice/secrets/file";

/// The server is there and says nothing, so the boot cannot settle.
pub(super) fn active_when_settled(world: &Booted) {
    let (machine, unit) = (&world.machine, agent_of("alice"));
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=STOP {SERVER}"));
    machine.sh(&format!("systemctl enable --now --no-block {unit}"));
    wait_until("a status", LONG, || machine.property(&unit, "StatusText").starts_with("waiting for the secrets"));
    assert_eq!(machine.property(&unit, "ActiveState"), "activating");
    assert!(!machine.exists(FILE));
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=CONT {SERVER}"));
    // It is a start like any other to whoever waits for it.
    machine.sh(&format!("systemctl start {unit}"));
    assert_eq!(machine.read(FILE), world.file.as_bytes());
    let status = machine.property(&unit, "StatusText");
    assert_eq!(status, format!("delivered {} variables and 1 file", tests::nasty::NASTY.len()));
    assert!(machine.sh(&format!("systemctl status --no-pager {unit}")).contains(&status));
    assert_eq!(machine.property(&unit, "WatchdogUSec"), "1min");
}

pub(super) fn runs_as_its_user(world: &Booted) {
    let (machine, pid) = (&world.machine, world.machine.property(&agent_of("alice"), "MainPID"));
    let owner = |path: &str| machine.sh(&format!("stat -c '%U %a' {path}"));
    assert_eq!(owner("/run/coder-agent/alice"), "alice 700\n");
    assert_eq!(owner("/run/coder-agent/alice/agent.sock"), "alice 600\n");
    // What its user might read of another process of theirs is root's.
    assert_eq!(owner(&format!("/proc/{pid}/environ")), "root 400\n");
    assert_eq!(machine.sh(&format!("awk '/^Uid/ {{ print $2 }}' /proc/{pid}/status")), machine.sh("id -u alice"));
    // Of the canaries, the token too is looked for in what this prints.
    machine.sh(&format!("systemctl show {}", agent_of("alice")));
    for process in [format!("tr '\\0' '\\n' < /proc/{pid}/environ"), "tr '\\0' '\\n' < /home/alice/script".to_owned()] {
        let environ = machine.run(["sh", "-euc", &process]).reveals().run().success().stdout;
        assert!(environ.contains("CODER_AGENT_URL=") && !environ.contains("CODER_AGENT_TOKEN"), "{environ}");
    }
}

pub(super) fn not_ordered_with_sshd(world: &Booted) {
    let related = |unit: &str, other: &str| {
        let before_and_after = world.machine.property(unit, "Before") + " " + &world.machine.property(unit, "After");
        assert!(!before_and_after.contains(other), "{unit}: {before_and_after}");
    };
    related(&agent_of("alice"), "ssh");
    related("ssh.service", "coder-agent");
}

pub(super) fn reload(world: &Booted) {
    let (machine, unit) = (&world.machine, agent_of("alice"));
    let value = world.env.canary("new-quotes");
    let _ = world.alice.coder(["secret", "update", "quotes"]).stdin(&value).run().success();
    machine.sh(&format!("systemctl reload {unit}"));
    let seen = world.ssh("alice").arg("printf %s \"$QUOTES\"").reveals().run().success();
    assert_eq!(seen.stdout, value);
    machine.sh(&format!("systemctl stop {SERVER}"));
    let _ = machine.run(["systemctl", "reload", &unit]).run().exits(1);
    assert_eq!(machine.property(&unit, "ActiveState"), "active");
    assert!(machine.journal(&unit).contains("nothing can be fetched now: "), "{}", machine.journal(&unit));
    machine.sh(&format!("systemctl start {SERVER}"));
}
