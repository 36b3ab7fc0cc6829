//! Beside sshd: login shells and services of the user, with and without an agent.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::shipped;

use super::logins::Logins;

const NASTY: &str = "harmless # $HOME 'quoted' \"twice\" \\\nLD_PRELOAD=/nasty/evil.so\nexport EVIL=1; false\n";

/// Succeeds where the variable is exactly the file in the account's home.
const COMPARE: &str = "printf %s \"$NASTY\" | cmp - ~/expected";

/// A shipped file, with the executable of the world in it.
fn installed(world: &Logins, name: &str) -> PathBuf {
    let here = world.env.path("bin").join(Path::new(name).file_name().unwrap());
    fs::write(&here, shipped(name, &world.env.path("bin/coder"))).unwrap();
    here
}

fn world(test: &str) -> Option<Logins> {
    let world = Logins::new(test)?;
    world.alice.secret_with("nasty", NASTY, &["--env", "NASTY"]);
    world.account.write("expected", NASTY);
    Some(world)
}

#[test]
fn a_login_shell_sees_the_exact_bytes_once_and_breaks_without_an_agent_in_nothing() {
    let Some(world) = world("a_login_shell_sees_the_exact_bytes_once_and_breaks_without_an_agent_in_nothing") else {
        return;
    };
    let profile = installed(&world, "profile.d/coder-agent.sh");
    let login = |then: &str| world.account.sh(&format!("set -eu; . {}; {then}", profile.display()));
    let absent = login("echo on").run().success();
    assert_eq!((absent.stdout.as_str(), absent.stderr.as_str()), ("on\n", ""));
    let agent = world.agent();
    let _ = login(&format!("{COMPARE}; test -z \"${{EVIL-}}\"")).run().success();
    for (name, value) in [("CODER", "true"), ("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")] {
        let _ = login("test -z \"${NASTY-}\"").env(name, value).run().success();
    }
    agent.signal(Signal::SIGSTOP);
    let _ = login("echo on").run().success().says("on");
    agent.signal(Signal::SIGCONT);
}

#[test]
fn services_of_the_user_get_assignments_and_nothing_holds_up_the_login() {
    let Some(world) = world("services_of_the_user_get_assignments_and_nothing_holds_up_the_login") else { return };
    let generator = installed(&world, "user-environment-generators/60-coder-agent");
    let generate = || world.account.sh(&format!("sh {}", generator.display())).reveals().run().success();
    assert_eq!(generate().stdout, "");
    let agent = world.agent();
    let command = format!("{} env --format systemd", world.env.path("bin/coder").display());
    let expected = world.account.sh(&command).reveals().run().success();
    assert!(expected.stdout.contains("NASTY="));
    assert_eq!(generate().stdout, expected.stdout);
    agent.signal(Signal::SIGSTOP);
    assert_eq!(generate().stdout, "");
    agent.signal(Signal::SIGCONT);
}
