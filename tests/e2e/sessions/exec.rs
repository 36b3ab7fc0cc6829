//! What a command sees, and that it is the command itself that runs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use tests::{Agent, Output, SHORT, binaries};

use super::{NASTY, World};

fn variables(output: &Output) -> BTreeMap<String, Vec<u8>> {
    let lines = output.stdout_bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let pair = |line: &[u8]| {
        let equals = line.iter().position(|byte| *byte == b'=').unwrap();
        (String::from_utf8(line[..equals].to_vec()).unwrap(), line[equals + 1..].to_vec())
    };
    lines.map(pair).collect()
}

fn seen(agent: &Agent) -> BTreeMap<String, Vec<u8>> {
    variables(&agent.coder(["exec", "env", "-0"]).reveals().run().success())
}

#[test]
fn a_command_sees_exactly_these_variables_byte_for_byte() {
    let world = World::new();
    for (name, value) in NASTY {
        world.alice.secret_with(&name.to_lowercase(), value, &["--env", name]);
    }
    let agent = world.agent();
    let mut seen = seen(&agent);
    for (name, value) in NASTY {
        assert_eq!(seen.remove(name).as_deref(), Some(value.as_bytes()), "{name}");
    }
    let ours = |name: &String| name == "CODER" || name.starts_with("CODER_WORKSPACE_") || name.starts_with("GIT_");
    let known =
        "PATH HOME TMPDIR LANG TZ CODER_AGENT_SOCKET USER LOGNAME SHELL RUST_LOG CS_DISABLE_GETTING_STARTED_OVERRIDE";
    seen.retain(|name, _| !ours(name) && !known.split(' ').any(|it| it == name));
    assert_eq!(seen.keys().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_value_of_the_largest_size_arrives_whole() {
    let world = World::new();
    let value = "0123456789abcdef".repeat(24_576 / 16);
    // Not looked for in logs: a pattern of this size takes minutes to search for, and shorter ones have been.
    let _ = world.alice.coder(["secret", "create", "large", "--env", "LARGE"]).stdin(&value).run().success();
    assert_eq!(seen(&world.agent())["LARGE"], value.as_bytes());
}

#[test]
fn the_user_wins_over_the_template_over_the_caller_over_the_image() {
    let world = World::with(
        "owner: alice\nname: dev\nagent:\n  name: main\n  env: { BOTH: template, TEMPLATE: template, CALLER: template }\n",
    );
    let secret = world.alice.secret("both", &["--env", "BOTH"]);
    let builder = world.env.agent(&world.server, &world.workspace);
    let image = ["BOTH", "TEMPLATE", "IMAGE", "CALLED"].into_iter().fold(builder, |it, name| it.env(name, "image"));
    let agent = image.start().listening();
    let caller = |args: &[&str]| {
        let run = agent.coder(["exec", "--wait", "60s", "--"]).args(args).reveals();
        let names = ["BOTH", "TEMPLATE", "CALLED", "CALLER", "CODER_AGENT_TOKEN", "CODER"];
        variables(&names.into_iter().fold(run, |it, name| it.env(name, "caller")).run().success())
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
        assert_eq!(String::from_utf8_lossy(&seen[name]), expected, "{name}");
    }
    assert!(!seen.contains_key("CODER_AGENT_TOKEN"), "the agent's token is nobody's");
    assert_eq!(caller(&["env", "BOTH=mine", "env", "-0"])["BOTH"], b"mine", "the command has the last word");
}

#[test]
fn the_process_is_the_commands_own() {
    let world = World::new();
    let agent = world.agent();
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
    let world = World::new();
    let agent = world.agent();
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
    let world = World::new();
    let agent = world.agent();
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
