//! A session ends as it does without us, in every shell.

use tests::Output;

use super::machine::{Machine, SHELLS, With};

const DEFINITION: &str = "owner: alice\nname: dev\nagent: { name: main }\n";

fn end(output: &Output) -> (Option<i32>, &str, &str) {
    (output.exit.code, output.stdout.as_str(), output.stderr.as_str())
}

#[test]
fn exit_status_signals_and_the_number_of_shells_are_those_of_plain_sshd() {
    let test = "exit_status_signals_and_the_number_of_shells_are_those_of_plain_sshd";
    let Some(machine) = Machine::new(test, DEFINITION) else { return };
    let _agent = machine.world.agent();
    machine.world.account.write(".zshrc", "");
    for shell in SHELLS {
        machine.chsh(shell);
        let pid = if shell == "/usr/bin/fish" { "$fish_pid" } else { "$$" };
        for command in [
            "exit 7".to_owned(),
            format!("kill -TERM {pid}; sleep 100"),
            format!("kill -KILL {pid}; sleep 100"),
            "no-such-command-anywhere 2>/dev/null".to_owned(),
            // The parent of the login shell.
            "sh -c 'read -r _ _ _ p _ < /proc/$PPID/stat; cat /proc/$p/comm'".to_owned(),
        ] {
            let [ours, plain] = [With::Us, With::OpenSshAlone].map(|with| machine.ssh(with, ["h", &command]).run());
            assert_eq!(end(&ours), end(&plain), "{command} in {shell}");
        }
    }
}
