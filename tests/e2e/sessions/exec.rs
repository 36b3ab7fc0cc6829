//! What a command sees, and that it is the command itself that runs.

use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use tests::nasty::{self, NASTY, Seen};
use tests::{Run, SHORT, binaries};

use super::*;

fn seen(run: Run) -> Seen {
    Seen::parse(&run.reveals().run().success().stdout_bytes)
}

/// What the test's own environment and the agent's start leave in it.
const SURROUNDINGS: &str = "PATH HOME TMPDIR LANG TZ CODER_AGENT_SOCKET USER LOGNAME SHELL RUST_LOG";

#[test]
fn a_command_sees_exactly_these_variables_byte_for_byte() {
    let world = World::with(DEV);
    nasty::store(&world.alice);
    let agent = ready(&world);
    seen(agent.coder(["exec", "env", "-0"])).is_exactly("exec", &NASTY, SURROUNDINGS);
}

#[test]
fn a_value_of_the_largest_size_arrives_whole() {
    let world = World::with(DEV);
    nasty::store_largest(&world.alice);
    let agent = ready(&world);
    let expected = [("LARGEST", nasty::largest())];
    seen(agent.coder(["exec", "env", "-0"])).is_exactly("exec", &expected, SURROUNDINGS);
}

#[test]
fn the_user_wins_over_the_template_over_the_caller_over_the_image() {
    let world = World::with(
        "owner: alice\nname: dev\nagent:\n  name: main\n  env: { BOTH: template, TEMPLATE: template, CALLER: template }\n",
    );
    let secret = world.alice.secret("both", &["--env", "BOTH"]);
    let builder = world.agent();
    let image = ["BOTH", "TEMPLATE", "IMAGE", "CALLED"].into_iter().fold(builder, |it, name| it.env(name, "image"));
    let agent = image.start().listening();
    let caller = |args: &[&str]| {
        let run = agent.coder(["exec", "--wait", "60s", "--"]).args(args);
        let names = ["BOTH", "TEMPLATE", "CALLED", "CALLER", "CODER_AGENT_TOKEN", "CODER"];
        seen(names.into_iter().fold(run, |it, name| it.env(name, "caller")))
    };
    let seen = caller(&["env", "-0"]);
    for (name, expected) in [
        ("BOTH", secret.as_str()),
        ("TEMPLATE", "template"),
        ("CALLER", "template"),
        ("IMAGE", "image"),
        ("CALLED", "caller"),
        ("CODER", "true"),
    ] {
        assert_eq!(seen.get(name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(seen.get("CODER_AGENT_TOKEN"), None, "the agent's token is nobody's");
    assert_eq!(
        caller(&["env", "BOTH=mine", "env", "-0"]).get("BOTH").as_deref(),
        Some("mine"),
        "the command has the last word"
    );
}

#[test]
fn the_process_is_the_commands_own() {
    let world = World::with(DEV);
    let agent = ready(&world);
    let mut process = agent.coder(["exec", "sh", "-c", "echo pid $$; exec sleep 1000"]).spawn("exec");
    assert_eq!(process.line_with("pid", SHORT), format!("pid {}", process.pid()));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.exit_within(SHORT).signal, Some(Signal::SIGTERM as i32));

    let _ = agent.coder(["exec", "sh", "-c", "exit 7"]).run().exits(7);
    let _ = agent.coder(["exec", "pwd"]).cwd("/usr").run().success().says("/usr\n");
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(agent.coder(["exec", "cat"]).stdin(&binary).run().success().stdout_bytes, binary);
    let _ = agent.coder(["exec", "ls", "-d", "--", "/usr"]).run().success().says("/usr");
    let _ = agent.coder(["exec", "--", "sh", "-c", "echo \"$0 $1\"", "--wait", "x"]).run().says("--wait x");
}

/// Whatever its parent arranged stays: `nohup`, a further descriptor, a pipe whose reader leaves.
#[test]
fn descriptors_and_ignored_signals_pass_through() {
    let world = World::with(DEV);
    let agent = ready(&world);
    let coder = binaries().coder.display();
    world.env.write("note", "from descriptor five\n");
    let script = format!(
        "trap '' HUP; {coder} exec sh -c 'kill -HUP $$; echo survived; cat <&5' 5<note; {coder} exec yes | head -n 1"
    );
    let shell = world.env.program("/bin/sh").arg("-c").arg(script).env("CODER_AGENT_SOCKET", agent.socket());
    let output = shell.limit(SHORT).run().success().says("survived\nfrom descriptor five\ny\n");
    assert_eq!(output.stderr, "");
}

#[test]
fn what_cannot_run_is_told_as_a_shell_does() {
    let world = World::with(DEV);
    let agent = ready(&world);
    let plain = world.env.write("plain", "echo ran $1\n");
    let exec = |program: &str| agent.coder(["exec", program, "here"]).run();
    let _ = exec("no-such-command").exits(127).complains("coder exec: cannot run no-such-command: No such file");
    let _ = exec("/no/such/file").exits(127).complains("/no/such/file");
    let _ = exec("/usr").exits(126).complains("Permission denied");
    let _ = exec(plain.to_str().unwrap()).exits(126).complains("Permission denied");
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).unwrap();
    let _ = exec(plain.to_str().unwrap()).success().says("ran here\n");
    let _ = agent.coder(["exec"]).run().exits(2);
    let _ = agent.coder(["exec", "--wait", "soon", "true"]).run().exits(2).complains("not a length of time");
}

/// The kernel takes neither a variable over 128 KiB nor variables over 2 MiB together.
#[test]
fn what_the_kernel_would_refuse_is_named_and_the_rest_works() {
    let long = |name: &str| format!("{name}: {}", "x".repeat(120_000));
    let many: Vec<_> = (0..20).map(|number| long(&format!("BIG_{number:02}"))).collect();
    // The server takes no longer one; what it refers to makes it too long.
    let too_long = format!("TOO_LONG: {}", "$HOME$PATH".repeat(13_000));
    let env = [many, vec![too_long, "SMALL: small".to_owned()]].concat().join(", ");
    let world = World::with(&format!("owner: alice\nname: dev\nagent: {{ name: main, env: {{ {env} }} }}\n"));
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    expect(&world, &value);
    let agent = ready(&world);
    let exec = agent.coder(["exec", "sh", "-c", &format!("{COMPARE}; echo $SMALL ${{#BIG_00}} ${{#TOO_LONG}}")]).run();
    let output = exec.success().complains("variable TOO_LONG is left out: ").complains("variable BIG_");
    assert_eq!(output.stdout, "small 120000 0\n");
    let _ = agent.coder(["status"]).run().exits(1).says("TOO_LONG");
    // What the caller brings counts as well, and is the last to go.
    let caller = agent.coder(["exec", "sh", "-c", "echo ${#MINE}"]).env("MINE", "x".repeat(120_000)).run().success();
    assert_eq!(caller.stdout, "120000\n");
}

/// A program of any kind starts shells by itself, so what `/bin/sh` cannot start with is left out whatever runs.
#[test]
fn no_variable_keeps_the_shell_of_the_workspace_from_starting() {
    let script = "{ display_name: Shell, run_on_start: true, script: \"#!/bin/sh\\ntouch ~/started\" }";
    let world = World::with(&format!("owner: alice\nname: dev\nagent:\n  name: main\n  scripts: [{script}]\n"));
    world.alice.secret("option", &["--env", "OPTIND"]);
    let agent = ready(&world);
    let run = agent.coder(["exec", "sh", "-c", "sh -c 'echo $OPTIND'"]).reveals().run().success();
    world.workspace.wait_lifecycle("ready");
    assert!(agent.home().join("started").exists());
    // Elsewhere the shell takes any value.
    if fs::canonicalize("/bin/sh").unwrap().ends_with("dash") {
        let told = "variable OPTIND is left out: /bin/sh does not start with this value of it";
        let _ = run.complains(told);
        let _ = agent.coder(["status"]).run().exits(1).says(told);
    }
    let _ = world.alice.coder(["secret", "update", "option"]).stdin("3").run().success();
    let _ = agent.coder(["agent", "reload"]).run().success();
    let _ = agent.coder(["exec", "printenv", "OPTIND"]).reveals().run().success().says("3");
}
