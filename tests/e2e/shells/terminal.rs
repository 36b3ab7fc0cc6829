//! What a person, or their program, sees of a login.

use tests::{Need, requires};

use super::machine::{Machine, With};

const DEFINITION: &str = "owner: alice\nname: dev\nagent: { name: main, motd_file: ~/motd }\n";

#[test]
fn the_messages_of_the_machine_are_shown_once() {
    let Some(machine) = Machine::new("the_messages_of_the_machine_are_shown_once", DEFINITION) else { return };
    machine.world.account.write("motd", "message of the template\n");
    let _agent = machine.world.agent();
    let shell = |with| machine.ssh(with, ["-tt", "h"]).terminal("exit\n").run().success().stdout;
    for (with, expected) in [(With::Us, [1, 1, 1]), (With::OpenSshAlone, [1, 1, 0])] {
        let shown = shell(with);
        let messages = ["dynamic message of this machine", "static message of this machine", "message of the template"];
        assert_eq!(messages.map(|message| shown.matches(message).count()), expected, "{shown}");
    }
    let command = machine.ssh(With::Us, ["h", "echo only"]).run().success();
    assert_eq!(command.stdout, "only\n");
    machine.world.account.write(".hushlogin", "");
    assert!(!shell(With::Us).contains("message of"));
}

/// Asks for a signal, then sends it by a second command, as the documentation says; prints how the first one ended.
const SIGNAL: &str = r#"
import asyncio, asyncssh, sys
async def main():
    port, user, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    async with asyncssh.connect("127.0.0.1", port, username=user, client_keys=[key], known_hosts=None, config=None) as c:
        process = await c.create_process("echo $$; exec sleep 1000")
        pid = (await process.stdout.readline()).strip()
        process.terminate()
        if sys.argv[4] == "ours":
            # The server has seen the request when it answers to the next one.
            alive = await c.run("kill -0 " + pid)
            print("alive", alive.exit_status)
            await c.run("kill -TERM " + pid)
        done = await process.wait()
        print(done.exit_signal[0])
asyncio.run(main())
"#;

/// The drop-in and docs/ssh.md say so. If OpenSSH changes its mind, they have to.
#[test]
fn a_signal_request_is_refused_by_openssh_and_a_second_command_delivers_it() {
    let test = "a_signal_request_is_refused_by_openssh_and_a_second_command_delivers_it";
    let library = Need::Program("../lib/python3/dist-packages/asyncssh", "python3-asyncssh");
    if !requires(test, &[Need::Program("python3", "python3"), library]) {
        return;
    }
    let Some(machine) = Machine::new(test, DEFINITION) else { return };
    let _agent = machine.world.agent();
    let script = machine.world.env.write("terminate.py", SIGNAL);
    let key = machine.world.env.home().join("id");
    for (with, name, expected) in [(With::Us, "ours", "alive 0\nTERM\n"), (With::OpenSshAlone, "plain", "TERM\n")] {
        let run = machine.world.env.program("/usr/bin/python3").arg(&script).arg(machine.port(with).to_string());
        let run = run.arg(&machine.world.account.name).arg(&key).arg(name).limit(tests::LONG);
        assert_eq!(run.run().success().stdout, expected, "{name}");
    }
}
