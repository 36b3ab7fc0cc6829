//! coder-server.service

use tests::{LONG, wait_until};

use super::world::{Booted, SERVER};

pub(super) fn lives(world: &Booted) {
    let machine = &world.machine;
    assert_eq!(machine.property(SERVER, "ActiveState"), "active");
    let pid = machine.property(SERVER, "MainPID");
    let owner = machine.sh(&format!("stat -c %U /proc/{pid} /var/lib/coder-server/coder.db"));
    assert_eq!(owner, "coder-server\ncoder-server\n");
    let before = world.show_agent();
    machine.sh(&format!("systemctl kill --kill-whom=main --signal=KILL {SERVER}"));
    wait_until("its successor", LONG, || {
        machine.property(SERVER, "NRestarts") == "1" && machine.property(SERVER, "ActiveState") == "active"
    });
    assert_eq!(world.show_agent(), before);
    let _ = world.alice.coder(["secret", "list"]).run().success().says("quotes");
    machine.sh(&format!("systemctl restart {SERVER}"));
    let _ = world.alice.coder(["secret", "list"]).run().success().says("quotes");
}
