//! `coder env`, read back by the programs it is made for.

use tests::nasty::{self, NASTY};
use tests::{Agent, Env, Need, Output, World, requires};

/// An agent that delivers the nasty values, and in a second workspace one of the largest size.
fn agents(env: &Env) -> (tests::Server, Agent, Agent) {
    let server = env.server();
    let alice = env.user("alice");
    nasty::store(&alice);
    nasty::store_largest(&env.user("bob"));
    let start = |owner: &str| {
        let workspace = env.workspace(&format!("owner: {owner}\nname: dev\nagent: {{ name: main }}\n"));
        let agent = env.agent(&server, &workspace).start().listening();
        let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
        agent
    };
    let (nasty, large) = (start("alice"), start("bob"));
    (server, nasty, large)
}

/// Prints the variables in the format, has `reader` (a program, its arguments; the file is appended) print them as
/// `NAME=value` with null bytes, and compares.
fn survives(test: &str, format: &str, needs: &[Need], reader: &[&str]) {
    survives_but(test, format, needs, reader, &[]);
}

/// The same of a format that cannot hold these, and says so.
fn survives_but(test: &str, format: &str, needs: &[Need], reader: &[&str], not: &[&str]) {
    if !requires(test, needs) {
        return;
    }
    let env = Env::new();
    let (_server, nasty, other) = agents(&env);
    let largest = nasty::largest();
    for (agent, expected) in [(&nasty, &NASTY[..]), (&other, &[("LARGEST", largest.as_str())])] {
        let expected = expected.iter().filter(|(name, _)| !not.contains(name));
        // All of them, where all can be printed.
        let names = if not.is_empty() { Vec::new() } else { expected.clone().map(|(name, _)| *name).collect() };
        let printed = agent.coder(["env", "--format", format]).args(names).reveals().run().success();
        assert_eq!(printed.stderr, "");
        let file = env.home().join("variables");
        std::fs::write(&file, &printed.stdout_bytes).unwrap();
        let read = env.program(reader[0]).args(&reader[1..]).arg(&file).reveals().run().success();
        for (name, value) in expected {
            assert_eq!(find(&read, name).as_deref(), Some(*value), "{name} by {}", reader[0]);
        }
        assert_eq!(read.stderr, "");
    }
    for name in not {
        let _ = nasty.coder(["env", "--format", format, name]).run().exits(1).complains(&format!("variable {name} "));
    }
}

fn find(read: &Output, name: &str) -> Option<String> {
    let mut lines = read.stdout_bytes.split(|byte| *byte == 0);
    let value = lines.find_map(|line| line.strip_prefix(format!("{name}=").as_bytes()))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

const EVAL: &str = r#"eval "$(cat "$1")"; env -0"#;

#[test]
fn sh_is_read_by_dash() {
    survives("sh_is_read_by_dash", "sh", &[Need::Program("dash", "dash")], &["/usr/bin/dash", "-c", EVAL, "dash"]);
}

#[test]
fn sh_is_read_by_bash() {
    survives("sh_is_read_by_bash", "sh", &[Need::Program("bash", "bash")], &["/bin/bash", "-c", EVAL, "bash"]);
}

#[test]
fn sh_is_read_by_zsh() {
    survives("sh_is_read_by_zsh", "sh", &[Need::Program("zsh", "zsh")], &["/usr/bin/zsh", "-f", "-c", EVAL, "zsh"]);
}

#[test]
fn fish_is_read_by_fish() {
    let script = "source $argv[1]; env -0";
    survives("fish_is_read_by_fish", "fish", &[Need::Program("fish", "fish")], &["/usr/bin/fish", "-c", script]);
}

#[test]
fn json_is_read_by_jq() {
    let script = r#"to_entries[] | "\(.key)=\(.value)\u0000""#;
    survives("json_is_read_by_jq", "json", &[Need::Program("jq", "jq")], &["/usr/bin/jq", "-j", script]);
}

const SPLIT: &str = r#"xargs -0 env -i env -0 < "$1""#;

#[test]
fn nul_is_read_by_xargs() {
    survives("nul_is_read_by_xargs", "nul", &[], &["/bin/sh", "-c", SPLIT, "sh"]);
}

#[test]
fn dotenv_is_read_by_python_dotenv() {
    let needs = [Need::Program("python-dotenv", "python3-dotenv")];
    let script = "import sys, dotenv
for pair in dotenv.dotenv_values(sys.argv[1], interpolate=False).items():
    sys.stdout.buffer.write('{}={}\\0'.format(*pair).encode())";
    let reader = ["/usr/bin/python3", "-c", script];
    survives_but("dotenv_is_read_by_python_dotenv", "dotenv", &needs, &reader, &["BACKSLASH"]);
}

/// `EnvironmentFile=` and os-release have one parser in systemd; tmpfiles shows what it makes of the latter.
#[test]
fn systemd_is_read_by_systemd() {
    let needs = [Need::Root, Need::Program("systemd-tmpfiles", "systemd")];
    if !requires("systemd_is_read_by_systemd", &needs) {
        return;
    }
    let env = Env::new();
    let (_server, agent, _) = agents(&env);
    let root = env.home().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let rules = env.write("tmpfiles.conf", "f /value - - - - %B\n");
    for (name, value) in NASTY {
        let printed = agent.coder(["env", "--format", "systemd", name]).reveals().run().success();
        let assigned = printed.stdout.strip_prefix(&format!("{name}=")).unwrap();
        std::fs::write(root.join("etc/os-release"), format!("ID=test\nBUILD_ID={assigned}AFTER=1\n")).unwrap();
        let tmpfiles = env.program("/usr/bin/systemd-tmpfiles").arg(format!("--root={}", root.display()));
        let _ = tmpfiles.arg("--create").arg(&rules).run().success();
        let read = std::fs::read(root.join("value")).unwrap();
        std::fs::remove_file(root.join("value")).unwrap();
        assert_eq!(String::from_utf8_lossy(&read), value, "{name}");
    }
}

#[test]
fn only_what_is_added_or_what_is_asked_for_is_printed() {
    let world = World::with("owner: alice\nname: dev\nagent: { name: main, env: { EDITOR: vim } }\n");
    let key = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let agent = world.agent().env("IMAGE", "image").start().listening();
    let json = |args: &[&str]| {
        let run = agent.coder(["env", "--wait", "1m", "--format", "json"]).args(args).reveals();
        run.env("IMAGE", "mine").env("EDITOR", "nano").run().success().json()
    };
    let all = json(&[]);
    assert_eq!((&all["API_KEY"], &all["EDITOR"]), (&key.as_str().into(), &"vim".into()));
    for own in ["IMAGE", "HOME", "TMPDIR", "CODER_AGENT_TOKEN"] {
        assert!(all.get(own).is_none(), "{own} is the caller's own");
    }
    assert_eq!(json(&["API_KEY"]), serde_json::json!({ "API_KEY": key }));
    assert_eq!(json(&["IMAGE"]), serde_json::json!({ "IMAGE": "mine" }));
    let _ = agent.coder(["env", "API_KEY", "NO_SUCH"]).run().exits(1).complains("no variable NO_SUCH is set");
    let _ = agent.coder(["env", "--format", "xml"]).run().exits(2);
}
