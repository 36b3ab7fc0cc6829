//! However a process of the workspace was started, it has the same variables. What is started in a booted systemd is
//! looked at among the tests of units.

mod machine;

use std::fs;
use std::path::Path;

use tests::nasty::{self, NASTY, Seen};
use tests::{LONG, Need, Process, requires, wait_until};

use crate::ssh::channels::channels;
use crate::ssh::logins::Logins;

/// What else there is: set by sshd, login, su, cron or the shell, taken over from the agent's start, or a script's own.
const SURROUNDINGS: &str = "USER LOGNAME HOME PATH SHELL MAIL TZ LANG TERM TMPDIR PWD OLDPWD SHLVL _ HUSHLOGIN MOTD_SHOWN \
                            SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_USER_AUTH \
                            CODER_SCRIPT_DATA_DIR CODER_SCRIPT_BIN_DIR";

/// The file appears whole.
const SCRIPT: &str = "cp /proc/$$/environ ~/project/new && mv ~/project/new ~/project/script";
const MAIN: &str = "cp /proc/$$/environ ~/project/now && mv ~/project/now ~/project/main; exec sleep 1000";

/// A workspace with a startup script, and these settings of its template.
fn definition(template: &str) -> String {
    let script = format!("{{ display_name: Look, run_on_start: true, script: {SCRIPT} }}");
    format!("owner: alice\nname: dev\nagent:\n  name: main\n  dir: ~/project\n  scripts: [{script}]\n{template}")
}

/// Boots with these variables in the image, and looks at a process of each way in. Ends the workspace.
fn all_ways(world: &Logins, image: &[(&str, &str)]) -> Vec<(&'static str, Seen)> {
    let run = world.agent_run(world.server.url()).args(["--", "sh", "-c", MAIN]);
    let mut agent = image.iter().fold(run, |run, (name, value)| run.env(name, value)).spawn("agent");
    world.workspace.wait_lifecycle("ready");
    let mut ways = vec![
        ("a startup script", wait_seen(world, "script")),
        ("the main process", wait_seen(world, "main")),
        ("coder exec", exec(world)),
    ];
    ways.extend(channels(world));
    ways.extend([("su -", machine::su(world)), ("login", machine::login(world)), ("cron", machine::cron(world))]);
    end(&mut agent);
    ways
}

fn wait_seen(world: &Logins, name: &str) -> Seen {
    let path = world.account.home.join("project").join(name);
    wait_until(&path.display().to_string(), LONG, || path.exists());
    Seen::read(path)
}

fn exec(world: &Logins) -> Seen {
    let command = format!("{} exec -- env -0", world.env.path("bin/coder").display());
    Seen::parse(&world.account.sh(&command).reveals().run().success().stdout_bytes)
}

fn end(agent: &mut Process) {
    assert_eq!(agent.terminate().code, Some(128 + 15), "the main process gets the signal: {}", agent.stderr());
}

fn world(test: &str, template: &str) -> Option<Logins> {
    requires(test, &machine::NEEDS).then(|| Logins::of(test, &definition(template))).flatten()
}

#[test]
fn every_way_in_sees_exactly_these_variables_byte_for_byte() {
    let Some(world) = world("every_way_in_sees_exactly_these_variables_byte_for_byte", "") else { return };
    nasty::store(&world.alice);
    for (way, seen) in all_ways(&world, &[]) {
        seen.is_exactly(way, &NASTY, SURROUNDINGS);
    }
}

#[test]
fn a_value_of_the_largest_size_arrives_whole_in_every_way() {
    let Some(world) = world("a_value_of_the_largest_size_arrives_whole_in_every_way", "") else { return };
    nasty::store_largest(&world.alice);
    for (way, seen) in all_ways(&world, &[]) {
        seen.is_exactly(way, &[("LARGEST", nasty::largest())], SURROUNDINGS);
    }
}

/// A template may set what users may not.
const LAYERS: &str = "  env: { BOTH: agent, TEMPLATE: agent, EDITOR: ed }
env: [{ name: BOTH, value: coder_env }, { name: CODER_ENV, value: coder_env }, { name: SECRET, value: coder_env }]
";

#[test]
fn the_user_wins_over_the_template_over_the_image_in_every_way_and_reserved_names_are_no_users() {
    let test = "the_user_wins_over_the_template_over_the_image_in_every_way_and_reserved_names_are_no_users";
    if !requires(test, &[Need::SqlClient]) {
        return;
    }
    let Some(world) = world(test, LAYERS) else { return };
    let (both, secret) =
        (world.alice.secret("both", &["--env", "BOTH"]), world.alice.secret("s", &["--env", "SECRET"]));
    let own = world.alice.secret("own", &["--env", "OWN"]);
    // A server that has another list, or none.
    let reserved = ["PATH", "LD_PRELOAD", "EDITOR", "GIT_SSH_COMMAND", "CODER_WORKSPACE_NAME", "HOME", "SHELL"];
    for name in reserved {
        let value = format!("/nasty/{name}");
        world.alice.secret_with(&name.to_lowercase(), value, &["--env", &format!("ALLOWED_{name}")]);
    }
    let allow = "UPDATE user_secrets SET env_name = substr(env_name, 9) WHERE env_name LIKE 'ALLOWED\\_%' ESCAPE '\\'";
    world.env.sql(allow);

    let names = ["BOTH", "TEMPLATE", "CODER_ENV", "SECRET", "OWN", "IMAGE"];
    for (way, seen) in all_ways(&world, &names.map(|name| (name, "image"))) {
        let expected = names.into_iter().zip([&both, "agent", "coder_env", &secret, &own, "image"]);
        let expected: Vec<_> = expected.chain([("EDITOR", "ed")]).collect();
        seen.is_exactly(way, &expected, SURROUNDINGS);
        for name in reserved {
            assert!(!seen.get(name).is_some_and(|value| value.contains("/nasty/")), "{name} in {way}");
        }
    }
}

/// The line that the documentation shows.
fn documented_cron_line() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ssh.md")).unwrap();
    page.lines().find(|line| line.starts_with("*/5 * * * *")).expect("a line for cron").to_owned()
}
