//! sshd starts the login shell twice. A marker tells its startup files which of both it is, and how else a process started.

use std::fs;
use std::path::Path;

use super::machine::{Machine, With};

const DEFINITION: &str = "owner: alice\nname: dev\nagent:\n  name: main\n  scripts:\n  - { display_name: at-start, \
                          run_on_start: true, script: echo $CODER_LAUNCH > ~/of-script }\n  - { display_name: on-schedule, \
                          cron: '* * * * * *', script: echo $CODER_LAUNCH > ~/part && mv ~/part ~/of-cron }\n";

/// What people have in there.
const TMUX: &str =
    r#"[ -z "${IN_TMUX-}" ] && [ -n "${SSH_TTY-}" ] && IN_TMUX=1 exec sh -c 'printf %s "$API_KEY" > ~/in-tmux'"#;

/// The line that the documentation shows.
fn documented() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ssh.md")).unwrap();
    let line = page.lines().find(|line| line.contains("SSH_USER_AUTH") && line.contains("return"));
    line.expect("a line for startup files").to_owned()
}

#[test]
fn what_a_startup_file_starts_has_the_secrets() {
    let Some(machine) = Machine::new("what_a_startup_file_starts_has_the_secrets", DEFINITION) else { return };
    let value = machine.world.alice.secret("api-key", &["--env", "API_KEY"]);
    let account = &machine.world.account;
    let agent = machine.world.agent();
    let rc = format!("{}\necho \"read in ${{CODER_LAUNCH-}}\" >> ~/times\n{TMUX}\n", documented());
    account.write(".bashrc", &rc);
    account.write(".bash_profile", ". ~/.bashrc\n");
    account.write(".zshenv", &rc);
    for shell in ["/bin/bash", "/usr/bin/zsh"] {
        machine.chsh(shell);
        for with in [With::Us, With::OpenSshAlone] {
            let _ = machine.ssh(with, ["-tt", "h"]).terminal("").run().success();
            let expected = if matches!(with, With::Us) { value.as_bytes() } else { b"" };
            assert_eq!(account.read("in-tmux"), expected, "{shell}");
            let times = String::from_utf8(account.read("times")).unwrap();
            let expected = if matches!(with, With::Us) { "read in session\n" } else { "read in \n" };
            assert_eq!(times, expected, "{shell}");
            fs::remove_file(account.home.join("times")).unwrap();
        }
    }
    // Without an agent, too.
    drop(agent);
    let _ = machine.ssh(With::Us, ["-tt", "h"]).terminal("").run().success();
    assert_eq!(account.read("times"), b"read in session\n");
}

#[test]
fn every_process_knows_how_it_was_started() {
    let Some(machine) = Machine::new("every_process_knows_how_it_was_started", DEFINITION) else { return };
    let account = &machine.world.account;
    let main = "echo $CODER_LAUNCH > ~/part-of-main && mv ~/part-of-main ~/of-main; exec sleep 1000";
    let run = machine.world.agent_run(machine.world.server.url()).args(["--", "sh", "-c", main]);
    let _agent = run.spawn("agent");
    machine.world.workspace.wait_lifecycle("ready");
    for (file, expected) in [("of-script", "script\n"), ("of-main", "main\n"), ("of-cron", "scheduled\n")] {
        tests::wait_until(file, tests::LONG, || account.home.join(file).exists());
        assert_eq!(String::from_utf8(account.read(file)).unwrap(), expected, "{file}");
    }
    let coder = machine.world.env.path("bin/coder");
    let exec = account.sh(&format!("{} exec printenv CODER_LAUNCH", coder.display())).run().success();
    assert_eq!(exec.stdout, "exec\n");
    assert_eq!(machine.ssh(With::Us, ["h", "printenv CODER_LAUNCH"]).run().success().stdout, "session\n");
    // It would say of a shell what is true of `coder env`.
    let env = account.sh(&format!("{} env --format nul", coder.display())).reveals().run().success();
    assert!(env.stdout.contains("CODER=true") && !env.stdout.contains("CODER_LAUNCH"));
}
