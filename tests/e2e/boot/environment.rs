//! Variables, as the kernel hands them to the startup script and to the main process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::nasty::{self, NASTY};
use tests::{Agent, AgentBuilder};

use super::{World, on_start};

type Variables = BTreeMap<String, String>;

/// The shell's own block of variables, as it was at `execve`; with `:` behind it, or the shell would become `cp`.
const KEEP_AS: &str = "cp /proc/$$/environ";

/// A script that keeps its variables in `~/script`.
fn keep() -> Value {
    json!([on_start("Keep", &format!("{KEEP_AS} ~/script; :"))])
}

#[track_caller]
fn read(path: &Path) -> Variables {
    let block = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let block = String::from_utf8(block).unwrap();
    let each = block.split_terminator('\0').map(|pair| pair.split_once('=').expect("NAME=value"));
    let each: Vec<_> = each.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let variables: Variables = each.iter().cloned().collect();
    assert_eq!(variables.len(), each.len(), "a name comes twice");
    variables
}

/// Boots, and returns what script and main process see, which must be the same but for the directories of the script.
#[track_caller]
fn boot(agent: AgentBuilder) -> (Agent, Variables) {
    let mut agent = agent.command(["sh", "-c", &format!("{KEEP_AS} ~/main; :")]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    let (mut script, mut main) = (read(&agent.home().join("script")), read(&agent.home().join("main")));
    for own in ["CODER_SCRIPT_DATA_DIR", "CODER_SCRIPT_BIN_DIR"] {
        assert!(script.remove(own).is_some(), "a script has its {own}");
    }
    // Each says how it was started.
    assert_eq!(main.insert("CODER_LAUNCH".into(), "script".into()).as_deref(), Some("main"));
    assert_eq!(script, main);
    (agent, script)
}

/// One name for each pair of layers that can meet, lowest first; `*` marks the one that wins.
#[test]
fn precedence_of_each_pair_of_layers() {
    let world = World::new();
    let secret = |name: &str| world.alice.secret(name, &["--env", name]);
    let over_image = secret("IMAGE_SECRET");
    let over_coder_env = secret("TEMPLATE_SECRET");
    let over_agent_env = secret("AGENT_SECRET");
    let over_all = secret("ALL");
    let (lower, upper) = (secret("lettercase"), secret("LETTERCASE"));
    let workspace = world.workspace_with(
        json!({
            "env": {
                "IMAGE_AGENT_ENV": "agent env*", "CODER_ENV_AGENT_ENV": "agent env*", "AGENT_SECRET": "agent env",
                "ALL": "agent env", "CODER_WORKSPACE_AGENT_NAME": "agent env*",
            },
            "scripts": keep(),
        }),
        &json!([
            { "name": "IMAGE_CODER_ENV", "value": "coder_env*" },
            { "name": "CODER_ENV_AGENT_ENV", "value": "coder_env" },
            { "name": "TEMPLATE_SECRET", "value": "coder_env" },
            { "name": "ALL", "value": "coder_env" },
            { "name": "TWICE", "value": "first" },
            { "name": "TWICE", "value": "second*" },
        ]),
    );
    let mut agent = world.agent(&workspace);
    for name in ["IMAGE", "IMAGE_CODER_ENV", "IMAGE_AGENT_ENV", "IMAGE_SECRET", "ALL", "CODER", "CODER_WORKSPACE_NAME"]
    {
        agent = agent.env(name, "image");
    }
    let (_, seen) = boot(agent);
    for (name, expected) in [
        ("IMAGE", "image"),
        // What describes the workspace wins over the image, and the template over that.
        ("CODER", "true"),
        ("CODER_WORKSPACE_NAME", "dev"),
        ("CODER_WORKSPACE_AGENT_NAME", "agent env*"),
        ("IMAGE_CODER_ENV", "coder_env*"),
        ("IMAGE_AGENT_ENV", "agent env*"),
        ("CODER_ENV_AGENT_ENV", "agent env*"),
        ("TWICE", "second*"),
        ("IMAGE_SECRET", &over_image),
        ("TEMPLATE_SECRET", &over_coder_env),
        ("AGENT_SECRET", &over_agent_env),
        ("ALL", &over_all),
        ("lettercase", &lower),
        ("LETTERCASE", &upper),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn the_workspace_describes_itself_and_the_token_stays_with_the_agent() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": keep(), "env": { "STOLEN": "<$CODER_AGENT_TOKEN>" } }));
    let (_, seen) = boot(world.agent(&workspace));
    let id = workspace.show()["id"].as_str().unwrap().to_owned();
    for (name, expected) in [
        ("CODER", "true"),
        ("CODER_WORKSPACE_NAME", "dev"),
        ("CODER_WORKSPACE_AGENT_NAME", "main"),
        ("CODER_WORKSPACE_OWNER_NAME", "alice"),
        ("CODER_WORKSPACE_ID", &id),
        ("CS_DISABLE_GETTING_STARTED_OVERRIDE", "true"),
        ("CODER_LAUNCH", "script"),
        ("STOLEN", "<>"),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name}");
    }
    assert_eq!(seen.get("CODER_AGENT_TOKEN"), None);
    assert!(!seen.values().any(|value| value.contains(workspace.token())));
    assert!(seen.contains_key("USER") && seen.contains_key("SHELL") && seen.contains_key("LOGNAME"));
}

#[test]
fn the_token_is_passed_on_where_the_administrator_says_so() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": keep() }));
    let (_, seen) = boot(world.agent(&workspace).args(["--pass-agent-token"]));
    assert_eq!(seen.get("CODER_AGENT_TOKEN").map(String::as_str), Some(workspace.token()));
}

/// Whoever may read `/proc/PID/environ` of the agent must not become the agent.
#[test]
fn the_token_is_wiped_from_the_agents_own_variables() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let agent = world.agent(&workspace).env("KEPT", "kept").start();
    workspace.wait_lifecycle("ready");
    // The name may stay; the bytes may not.
    match fs::read(format!("/proc/{}/environ", agent.pid())) {
        Ok(block) => {
            let block = String::from_utf8_lossy(&block).into_owned();
            assert!(block.contains("KEPT=kept") && !block.contains(workspace.token()));
        }
        // Not dumpable: only root may look.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
}

#[test]
fn disabled_and_targetless_secrets_are_absent() {
    let world = World::new();
    let disabled = world.alice.secret("disabled", &["--env", "DISABLED", "--file", "~/disabled", "--enabled=false"]);
    let targetless = world.alice.secret("targetless", &[]);
    let file_only = world.alice.secret("file-only", &["--file", "~/file"]);
    let present = world.alice.secret("present", &["--env", "PRESENT"]);
    let (agent, seen) = boot(world.agent(&world.workspace(json!({ "scripts": keep() }))));
    assert_eq!(seen.get("PRESENT"), Some(&present));
    for value in [disabled, targetless, file_only] {
        assert!(!seen.values().any(|seen| seen.contains(&value)));
    }
    assert_eq!(seen.get("DISABLED"), None);
    assert!(!agent.home().join("disabled").exists());
}

/// References mean what the agent was started with; a secret is never a template, nor a reference's meaning.
#[test]
fn template_values_are_expanded_and_secrets_are_not() {
    let world = World::new();
    let raw = format!("$HOME ${{REGION}} $$ {}", world.env.canary("raw"));
    world.alice.secret_with("raw", &raw, &["--env", "RAW"]);
    let region = world.alice.secret("region", &["--env", "REGION"]);
    let workspace = world.workspace_with(
        json!({ "scripts": keep(), "env": {
            "URL": "https://${REGION}.example/$REGION/api", "UNSET": "[$NOTHING]", "PRICE": "5$", "RAW_COPY": "<$RAW>",
            "OTHER": "$URL",
        }}),
        &json!([{ "name": "CACHE", "value": "$HOME/.cache" }]),
    );
    let (agent, seen) = boot(world.agent(&workspace).env("REGION", "eu"));
    let cache = agent.home().join(".cache").display().to_string();
    for (name, expected) in [
        ("URL", "https://eu.example/eu/api"),
        ("UNSET", "[]"),
        ("PRICE", "5$"),
        ("RAW_COPY", "<>"),
        ("OTHER", ""),
        ("CACHE", &cache),
        ("RAW", &raw),
        ("REGION", &region),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(expected), "{name}");
    }
}

/// Never an empty element: in `PATH` and its likes it means the current directory.
#[test]
fn lists_join_to_what_is_inherited_and_to_nothing() {
    let world = World::new();
    let join = |name: &str, value: &str, how: &str| json!({ "name": name, "value": value, "merge_strategy": how });
    let workspace = world.workspace_with(
        json!({ "scripts": keep() }),
        &json!([
            join("PATH", "/opt/tools/bin", "prepend"),
            join("SET_APPENDED", "/x", "append"),
            join("UNSET_APPENDED", "/x", "append"),
            join("UNSET_PREPENDED", "/x", "prepend"),
            join("EMPTY_APPENDED", "/x", "append"),
            join("EMPTY_PREPENDED", "/x", "prepend"),
            join("BOTH", "/before", "prepend"),
            join("BOTH", "/after", "append"),
            join("REPLACED", "/only", "replace"),
            join("REPLACED", "/more", "append"),
        ]),
    );
    let mut agent = world.agent(&workspace);
    for (name, value) in
        [("SET_APPENDED", "/a:/b"), ("EMPTY_APPENDED", ""), ("EMPTY_PREPENDED", ""), ("REPLACED", "/r")]
    {
        agent = agent.env(name, value);
    }
    let (_, seen) = boot(agent);
    for (name, expected) in [
        ("PATH", "/opt/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("SET_APPENDED", "/a:/b:/x"),
        ("UNSET_APPENDED", "/x"),
        ("UNSET_PREPENDED", "/x"),
        ("EMPTY_APPENDED", "/x"),
        ("EMPTY_PREPENDED", "/x"),
        ("BOTH", "/before:/after"),
        ("REPLACED", "/only:/more"),
    ] {
        // The programs of scripts come first.
        let value =
            seen.get(name).map(|value| value.split_once("/coder-script-data/bin:").map_or(value.as_str(), |it| it.1));
        assert_eq!(value, Some(expected), "{name}");
    }
}

#[test]
fn nasty_values_arrive_byte_for_byte() {
    let world = World::new();
    nasty::store(&world.alice);
    let (_, seen) = boot(world.agent(&world.workspace(json!({ "scripts": keep() }))));
    for (name, value) in NASTY {
        assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!seen.keys().any(|name| name == "LD_PRELOAD" || name == "EVIL"));
}

/// The whole budget of variables in one, beside the template's.
#[test]
fn the_largest_value_arrives_byte_for_byte() {
    let world = World::new();
    let largest = world.env.canary("largest").repeat(1000)[..24_576].to_owned();
    world.alice.secret_with("largest", &largest, &["--env", "LARGEST"]);
    let long = "x".repeat(100_000);
    let workspace = world.workspace(json!({ "scripts": keep(), "env": { "LONG": long } }));
    let (_, seen) = boot(world.agent(&workspace));
    assert_eq!(seen.get("LARGEST"), Some(&largest));
    assert_eq!(seen.get("LONG"), Some(&long));
}

/// One variable too many must not keep everything from starting.
#[test]
fn what_the_kernel_would_refuse_is_named_and_left_out() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY"]);
    let mut env: Value = (0..16).map(|n| (format!("BIG_{n:02}"), Value::from("x".repeat(110_000)))).collect();
    env["BIGGEST"] = "x".repeat(120_000).into();
    let workspace = world.workspace(json!({ "scripts": keep(), "env": env }));
    let (mut agent, seen) = boot(world.agent(&workspace));
    assert_eq!(seen.get("KEY"), Some(&key));
    assert_eq!(seen.get("BIGGEST"), None);
    let big = seen.keys().filter(|name| name.starts_with("BIG_")).count();
    assert!((8..16).contains(&big), "{big}");
    agent.line_with("variable BIGGEST is left out: it takes 120009 bytes and does not fit into", tests::SHORT);
}

/// What is inherited is passed on as it is, names no shell would take included.
#[test]
fn inherited_variables_of_any_name_are_passed_on() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": keep() }));
    let agent =
        world.agent(&workspace).env("with.dots-and+signs", "kept").env("EMPTY", "").env("BASH_FUNC_f%%", "() { :; }");
    let (_, seen) = boot(agent);
    for (name, value) in [("with.dots-and+signs", "kept"), ("EMPTY", ""), ("BASH_FUNC_f%%", "() { :; }")] {
        assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
    }
}
