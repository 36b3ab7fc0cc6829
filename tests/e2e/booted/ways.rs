//! What processes see, however they were started.

use tests::nasty::{self, Seen};
use tests::{LONG, SHORT, wait_until};

use super::world::{Booted, agent_of};

const OF_THE_USER: &str = "USER LOGNAME HOME PATH SHELL LANG PWD OLDPWD SHLVL _ CODER_AGENT_URL";
const OF_A_SESSION: &str = "XDG_SESSION_ID XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS \
     SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_USER_AUTH TERM MAIL MOTD_SHOWN LS_COLORS";
const OF_A_SERVICE: &str = "INVOCATION_ID SYSTEMD_EXEC_PID MANAGERPID XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS";
const OF_A_SCRIPT: &str = "CODER_SCRIPT_DATA_DIR CODER_SCRIPT_BIN_DIR INVOCATION_ID SYSTEMD_EXEC_PID JOURNAL_STREAM \
     RUNTIME_DIRECTORY";

/// As the README has it, but for what it runs and where this package is.
const JOB: &str = "* * * * *  /usr/bin/coder exec -- sh -c 'env -0 > ~/cron.part && mv ~/cron.part ~/cron'\n";

pub(super) fn start(world: &Booted) {
    for user in ["alice", "bob"] {
        world.start(user);
        let _ = world.machine.run(["crontab", "-u", user, "-"]).stdin(JOB).run().success();
    }
    // It tells a change by whole seconds, and would miss one in the second in which it looked.
    world.machine.sh("systemctl restart cron");
}

/// A user, and what each process of theirs has to have.
fn users() -> [(&'static str, Vec<(&'static str, String)>); 2] {
    let nasty = nasty::NASTY.map(|(name, value)| (name, value.to_owned()));
    [("alice", nasty.to_vec()), ("bob", vec![("LARGEST", nasty::largest())])]
}

pub(super) fn the_same_bytes(world: &Booted) {
    for (user, values) in &users() {
        for (way, block) in ways(world, user) {
            has(&block, &format!("{way} of {user}"), values);
        }
    }
}

/// What each way shows, as `env -0` prints it.
fn ways(world: &Booted, user: &str) -> Vec<(&'static str, Vec<u8>)> {
    let home = |file: &str| world.machine.read(&format!("/home/{user}/{file}"));
    let printed = |run: tests::Run| run.reveals().run().success().stdout_bytes;
    let command = printed(world.ssh(user).arg("env -0"));
    let shell = world.ssh(user).arg("-tt").terminal("env -0 > ~/shell; exit\n").reveals();
    let _ = shell.run().success();
    let service = printed(world.ssh(user).arg("systemd-run --user --wait --pipe --quiet env -0"));
    let su = world.machine.run(["su", "-", user, "-c", "env -0"]);
    let exec = world.machine.sh_as(user, "coder exec env -0");
    let _ = world.machine.sh_as(user, "coder env --format systemd > ~/environment").run().success();
    let file = format!("--property=EnvironmentFile=/home/{user}/environment");
    let unit = world.machine.run(["systemd-run", "--wait", "--pipe", "--quiet", &file, "env", "-0"]);
    vec![
        ("a command over SSH", command),
        ("a login shell over SSH", home("shell")),
        ("a service of the user over SSH", service),
        ("a login by su", printed(su)),
        ("exec", printed(exec)),
        ("a unit with EnvironmentFile=", printed(unit)),
        ("a startup script", home("script")),
    ]
}

#[track_caller]
fn has(block: &[u8], way: &str, values: &[(&str, String)]) {
    let seen = Seen::parse(block);
    let mut surroundings = [OF_THE_USER, OF_A_SESSION, OF_A_SERVICE, OF_A_SCRIPT].join(" ");
    if values.iter().all(|(name, _)| *name != "MULTILINE") {
        surroundings += " MULTILINE";
        assert_eq!(seen.get("MULTILINE").as_deref(), Some("of the template"), "{way}");
    }
    seen.is_exactly(way, values, &surroundings);
    // The template's directory and that of scripts, once each, although shells and sshd set PATH themselves.
    let path = seen.get("PATH").unwrap_or_default();
    for directory in ["/opt/tools/bin", "/coder-script-data/bin"] {
        let count = path.split(':').filter(|element| element.ends_with(directory)).count();
        assert_eq!(count, 1, "{directory} in the PATH of {way}: {path}");
    }
}

pub(super) fn root_is_untouched(world: &Booted) {
    let command = world.ssh("root").arg("env").run().success();
    let _ = world.ssh("root").arg("-tt").terminal("env > ~/shell; exit\n").run().success();
    let su = world.machine.run(["su", "-", "-c", "env"]).run().success();
    let shell = String::from_utf8(world.machine.read("/root/shell")).unwrap();
    for (way, text) in [("a command", command.stdout), ("a login shell", shell), ("su", su.stdout)] {
        assert!(text.contains("HOME=/root\n") && !text.contains("CODER"), "{way}: {text}");
    }
}

pub(super) fn services_follow(world: &Booted) {
    // The user's service manager lives as long as there is a session.
    let mut session = world.ssh("alice").arg("echo up; sleep 1000").spawn("session");
    let _ = session.line_with("up", SHORT);
    let read = || {
        let service = "systemd-run --user --wait --pipe --quiet sh -c 'printf %s \"$LATER\"'";
        world.ssh("alice").arg(service).reveals().run().success().stdout
    };
    let value = world.alice.secret("later", &["--env", "LATER"]);
    wait_until("the new variable in a service that starts", LONG, || read() == value);
    let value = world.env.canary("live");
    let _ = world.alice.coder(["secret", "update", "later"]).stdin(&value).run().success();
    wait_until("its new value", LONG, || read() == value);
    let _ = world.alice.coder(["secret", "disable", "later"]).run().success();
    wait_until("an empty variable in its place", LONG, || read().is_empty());
    let _ = world.alice.coder(["secret", "enable", "later"]).run().success();
    for verb in ["reload", "restart"] {
        let value = world.env.canary(verb);
        let _ = world.alice.coder(["secret", "update", "later"]).stdin(&value).run().success();
        world.machine.sh(&format!("systemctl {verb} {}", agent_of("alice")));
        assert_eq!(read(), value, "after systemctl {verb}");
    }
}

pub(super) fn cron(world: &Booted) {
    for (user, values) in &users() {
        let file = format!("/home/{user}/cron");
        wait_until(&format!("a job of {user}"), 2 * LONG, || world.machine.exists(&file));
        has(&world.machine.read(&file), &format!("a cron job of {user}"), values);
    }
}
