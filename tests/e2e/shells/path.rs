//! The `PATH` of a session is at least that of plain sshd, and the image's where there is one.

use super::machine::{Machine, With, is_for_scripts};

const DEFINITION: &str = "owner: alice\nname: dev\nagent: { name: main }\n";

#[test]
fn a_session_keeps_the_path_of_the_machine_and_gets_that_of_the_image() {
    let test = "a_session_keeps_the_path_of_the_machine_and_gets_that_of_the_image";
    let Some(machine) = Machine::new(test, DEFINITION) else { return };
    let path = |with| machine.ssh(with, ["h", "echo $PATH"]).run().success().stdout;
    let plain = path(With::OpenSshAlone);
    assert_eq!(plain, "/opt/corp/bin:/usr/local/bin:/usr/bin:/bin\n");
    let mut of_systemd = machine.world.agent_run(machine.world.server.url());
    of_systemd = of_systemd.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
    let mut agent = of_systemd.spawn("agent");
    machine.world.workspace.wait_lifecycle("ready");
    let ours = path(With::Us);
    assert!(ours.strip_suffix(&plain).is_some_and(is_for_scripts), "{ours}");
    agent.terminate();
    let image = machine.world.agent_run(machine.world.server.url());
    let _agent = image.env("PATH", "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin").spawn("agent");
    machine.world.workspace.wait_lifecycle("ready");
    let ours = path(With::Us);
    assert!(ours.strip_suffix(&format!("/opt/venv/bin:{plain}")).is_some_and(is_for_scripts), "{ours}");
}
