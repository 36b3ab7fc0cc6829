//! States that Terraform and the coder/coder provider wrote, and what a workspace must become of each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use protocol::secret::Secret;
use protocol::terraform::{self, Agent, Error, Resource, Script, Workspace};
use serde_json::{Value, json};

const FOLDERS: [&str; 14] = [
    "agent-name-clash",
    "destroyed",
    "displayed-secret",
    "duplicate-metadata",
    "dynamic-secret",
    "instance-identity",
    "lonely-agent",
    "merge-error",
    "merge-strategies",
    "modules-and-loops",
    "plan",
    "required-secrets",
    "stopped",
    "two-agents",
];

fn path(folder: &str, file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata/terraform", folder, file].iter().collect()
}

fn bytes(folder: &str, file: &str) -> Option<Vec<u8>> {
    fs::read(path(folder, file)).ok()
}

/// What is expected, in the words of the folders.
fn expected(folder: &str) -> Value {
    serde_json::from_slice(&bytes(folder, "expect.json").unwrap()).unwrap()
}

fn text(secret: &Secret) -> Value {
    secret.expose_str().unwrap().into()
}

fn found(workspace: &Workspace) -> Value {
    json!({
        "outcome": if workspace.agents.is_empty() { "stopped" } else { "applied" },
        "workspace": workspace.name,
        "owner": workspace.owner,
        "agents": workspace.agents.iter().map(agent).collect::<Vec<_>>(),
        "resources": workspace.resources.iter().map(resource).collect::<Vec<_>>(),
        "required_secrets": workspace.required_secrets.iter().map(|it| {
            let mut required = json!({ "help_message": it.help_message });
            for (key, value) in [("env", &it.env), ("file", &it.file)] {
                if !value.is_empty() {
                    required[key] = value.clone().into();
                }
            }
            required
        }).collect::<Vec<_>>(),
        "left_out": workspace.left_out,
    })
}

fn agent(agent: &Agent) -> Value {
    json!({
        "name": agent.name,
        "token": agent.token.as_ref().map(text),
        "dir": agent.dir,
        "motd_file": agent.motd_file,
        "connection_timeout": agent.connection_timeout,
        "user_data": agent.user_data,
        "env": agent.env.iter().map(|(name, it)| (name.clone(), text(&it.value()))).collect::<serde_json::Map<_, _>>(),
        "sensitive_env": agent.env.iter().filter(|(_, it)| it.is_sensitive()).map(|(name, _)| name).collect::<Vec<_>>(),
        "scripts": agent.scripts.iter().map(script).collect::<Vec<_>>(),
        "metadata": agent.metadata.iter().map(|it| json!({
            "key": it.key,
            "display_name": it.display_name,
            "script": text(&it.script),
            "interval": it.interval,
            "timeout": it.timeout,
            "order": it.order,
        })).collect::<Vec<_>>(),
        "resource": agent.resource,
    })
}

fn script(script: &Script) -> Value {
    json!({
        "display_name": script.display_name,
        "script": text(&script.script),
        "run_on_start": script.run_on_start,
        "run_on_stop": script.run_on_stop,
        "cron": script.cron,
        "start_blocks_login": script.start_blocks_login,
        "timeout": script.timeout,
        "log_path": script.log_path,
    })
}

fn resource(resource: &Resource) -> Value {
    json!({
        "address": resource.address,
        "type": resource.kind,
        "name": resource.name,
        "module_path": resource.module_path,
        "hide": resource.hide,
        "icon": resource.icon,
        "daily_cost": resource.daily_cost,
        "metadata": resource.items.iter().map(|it| json!({
            "key": it.key,
            "value": it.value.as_ref().map(text),
            "sensitive": it.sensitive,
        })).collect::<Vec<_>>(),
    })
}

/// The refusal, and everything that its message has to name.
fn refused(error: &Error, expected: &Value) {
    let because = match error {
        Error::AgentNames { .. } => "agent names",
        Error::DuplicateMetadata { .. } => "duplicate metadata",
        Error::Merge { .. } => "merge",
        Error::Empty => "empty",
        Error::Plan => "plan",
        other => panic!("{other}"),
    };
    assert_eq!(expected["because"], because, "{error}");
    for name in expected["names"].as_array().into_iter().flatten() {
        assert!(error.to_string().contains(name.as_str().unwrap()), "{name} in {error}");
    }
}

#[test]
fn every_folder_gives_what_it_expects_from_both_inputs() {
    for folder in FOLDERS {
        let expected = expected(folder);
        for file in ["show.json", "state.tfstate"] {
            let Some(bytes) = bytes(folder, file) else {
                // A plan has no state file.
                assert_eq!((folder, file), ("plan", "state.tfstate"));
                continue;
            };
            match terraform::read(&bytes) {
                Ok(workspace) => assert_eq!(found(&workspace), expected, "{folder}/{file}"),
                Err(error) => {
                    assert_eq!(expected["outcome"], "refused", "{folder}/{file}: {error}");
                    refused(&error, &expected);
                }
            }
        }
    }
}

#[test]
fn no_folder_is_forgotten() {
    let mut folders: Vec<_> =
        fs::read_dir(path("", "")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(folders, FOLDERS);
}

#[test]
fn what_is_kept_and_left_out_is_reported() {
    let notes = |folder| terraform::read(&bytes(folder, "show.json").unwrap()).unwrap().notes.join("\n");
    assert!(notes("lonely-agent").contains("coder_agent.lonely"));
    assert!(notes("instance-identity").contains("coder_agent.main"));
    assert_eq!(notes("two-agents"), "");
}

/// A variable that joins to nothing joins to the one that the workspace inherits, unless the value is sensitive.
#[test]
fn a_list_with_nothing_to_join_to_joins_to_the_inherited_variable() {
    let workspace = terraform::read(&bytes("merge-strategies", "show.json").unwrap()).unwrap();
    let delivered = |name: &str| text(&workspace.agents[0].env[name].delivered(name));
    assert_eq!(delivered("SEARCH"), "/c:${SEARCH}:/a:/b");
    assert_eq!(delivered("LAST"), "agent");
}

fn state(resources: &Value) -> Vec<u8> {
    let values = json!({ "root_module": { "resources": resources } });
    serde_json::to_vec(&json!({ "format_version": "1.0", "values": values })).unwrap()
}

fn managed(address: &str, values: &Value) -> Value {
    let (kind, name) = address.split_once('.').unwrap();
    json!({ "address": address, "mode": "managed", "type": kind, "name": name, "values": values })
}

fn main_agent() -> Value {
    managed("coder_agent.main", &json!({ "id": "a", "auth": "token", "token": "7275bb22-fb1f-4b45-829a-75c1cacb1e75" }))
}

#[test]
fn faults_name_the_address_and_never_a_value() {
    let cases = [
        (
            managed("coder_env.x", &json!({ "agent_id": "a", "name": "X", "value": 4711 })),
            "coder_env.x: `value` must be text",
        ),
        (
            managed("coder_env.x", &json!({ "agent_id": "a", "name": "X=canary" })),
            "coder_env.x: `name` must be the name",
        ),
        (
            managed("coder_script.x", &json!({ "agent_id": "a", "timeout": "canary" })),
            "coder_script.x: `timeout` must be a whole",
        ),
        (
            managed("coder_script.x", &json!({ "agent_id": "a", "timeout": -1 })),
            "coder_script.x: `timeout` must not be negative",
        ),
        (
            managed("coder_metadata.x", &json!({ "resource_id": ["canary"] })),
            "coder_metadata.x: `resource_id` must be text",
        ),
        (
            managed("coder_agent.x", &json!({ "id": "x", "token": "canary" })),
            "coder_agent.x: `token` must be a UUID of version 4",
        ),
        (managed("coder_agent.x", &json!({ "id": "x" })), "coder_agent.x: `token` is missing"),
        (managed("coder_agent.x", &json!({ "token": "canary" })), "coder_agent.x: `id` is missing"),
        (
            managed(
                "coder_agent.x",
                &json!({ "id": "x", "token": "7275bb22-fb1f-4b45-829a-75c1cacb1e76", "env": { "A": 4711 } }),
            ),
            "coder_agent.x: `env.A` must be text",
        ),
        (json!({ "type": "canary" }), "a resource of the root module has no `address`"),
        (json!("canary"), "a resource of the root module must be an object"),
    ];
    for (resource, message) in cases {
        let error = terraform::read(&state(&json!([main_agent(), resource]))).unwrap_err().to_string();
        assert!(error.contains(message), "{error} instead of {message}");
        assert!(!error.contains("canary") && !error.contains("4711"), "{error}");
    }
}

#[test]
fn what_is_no_state_is_told_apart() {
    let cases: [(&str, Error); 8] = [
        ("", Error::NotJson { line: 1, column: 0 }),
        ("resource \"x\"", Error::NotJson { line: 1, column: 1 }),
        ("[]", Error::NotAState),
        ("{}", Error::NotAState),
        (r#"{"format_version":"1.2","planned_values":{}}"#, Error::Plan),
        (r#"{"serial":1,"lineage":"x","encrypted_data":"x"}"#, Error::Encrypted),
        (r#"{"format_version":"1.0"}"#, Error::Empty),
        (
            r#"{"version":3,"resources":[]}"#,
            Error::Version { what: "the state version", found: "3".into(), known: "4" },
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(terraform::read(text.as_bytes()).unwrap_err(), expected, "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(terraform::read(deep.as_bytes()), Err(Error::NotJson { .. })));
    assert_eq!(terraform::read(&vec![b' '; terraform::MAX_BYTES + 1]).unwrap_err(), Error::TooLarge);
}

#[test]
fn instances_on_their_way_out_are_skipped_and_those_of_no_agent_reported() {
    let deposed = json!({ "address": "aws_instance.old", "mode": "managed", "type": "aws_instance", "name": "old", "deposed_key": "1" });
    let tainted = json!({ "address": "aws_instance.new", "mode": "managed", "type": "aws_instance", "name": "new", "tainted": true });
    let stray = managed("coder_env.stray", &json!({ "agent_id": "gone", "name": "X", "value": "1" }));
    let workspace = terraform::read(&state(&json!([main_agent(), deposed, tainted, stray]))).unwrap();
    assert_eq!(workspace.resources.iter().map(|it| it.address.as_str()).collect::<Vec<_>>(), ["aws_instance.new"]);
    assert_eq!(workspace.left_out, ["coder_env.stray"]);
    assert!(workspace.notes.iter().any(|note| note.contains("coder_env.stray")));
}

/// The address that a state file's parts make is the one that `show` prints.
#[test]
fn keys_in_addresses_are_quoted_as_terraform_quotes_them() {
    let instance = |key: &str| json!({ "index_key": key, "attributes": {} });
    let resources = json!([
        { "module": "module.a[\"x.y\"]", "mode": "managed", "type": "t", "name": "n", "instances": [
            instance("a\"b"), instance("${c}"), instance("d\ne"), instance("50%"),
        ] },
        { "mode": "managed", "type": "t", "name": "n", "instances": [{ "attributes": {} }] },
    ]);
    let bytes = serde_json::to_vec(&json!({ "version": 4, "resources": resources })).unwrap();
    let workspace = terraform::read(&bytes).unwrap();
    let addresses: Vec<_> = workspace.resources.iter().map(|it| it.address.as_str()).collect();
    let expected = [
        r#"module.a["x.y"].t.n["$${c}"]"#,
        r#"module.a["x.y"].t.n["50%"]"#,
        r#"module.a["x.y"].t.n["a\"b"]"#,
        r#"module.a["x.y"].t.n["d\ne"]"#,
        "t.n",
    ];
    assert_eq!(addresses, expected);
}

/// Every place of a document, as the steps that lead to it.
fn places(value: &Value, path: &mut Vec<Value>, all: &mut Vec<Vec<Value>>) {
    all.push(path.clone());
    let children: Vec<(Value, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone().into(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.into(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        path.push(step);
        places(child, path, all);
        path.pop();
    }
}

fn at<'a>(value: &'a mut Value, path: &[Value]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Value::String(key) => &mut value[key.as_str()],
        step => &mut value[usize::try_from(step.as_u64().unwrap()).unwrap()],
    })
}

/// Drops or replaces what is at `path`.
fn mutate(document: &mut Value, path: &[Value], replacement: Option<Value>) {
    match (replacement, path.split_last()) {
        (Some(value), _) => *at(document, path) = value,
        (None, Some((Value::String(key), parent))) => {
            at(document, parent).as_object_mut().unwrap().remove(key);
        }
        (None, Some((n, parent))) => {
            at(document, parent).as_array_mut().unwrap().remove(usize::try_from(n.as_u64().unwrap()).unwrap());
        }
        (None, None) => *document = Value::Null,
    }
}

/// Values of the states that no message may have: all long texts of sensitive attributes.
fn canaries(folder: &str) -> Vec<String> {
    let expected = expected(folder);
    let agents = expected["agents"].as_array().cloned().unwrap_or_default();
    let values = agents.iter().flat_map(|agent| {
        let env = agent["env"].as_object().cloned().unwrap_or_default();
        let sensitive: Vec<_> = agent["sensitive_env"].as_array().cloned().unwrap_or_default();
        let values = sensitive.iter().map(|name| env[name.as_str().unwrap()].as_str().unwrap().to_owned());
        values.chain(agent["token"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    });
    values.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_mutated_state_is_read_or_refused_and_never_told_values_of(
        folder in 0..FOLDERS.len(),
        stored in any::<bool>(),
        place in any::<prop::sample::Index>(),
        replacement in prop_oneof![
            Just(None), Just(Some(json!(null))), Just(Some(json!(-1))), Just(Some(json!(1.5))), Just(Some(json!(true))), Just(Some(json!("none"))),
            Just(Some(json!("\0"))), Just(Some(json!([]))), Just(Some(json!({}))), Just(Some(json!([[{"type": "get_attr"}]]))),
        ],
    ) {
        let folder = FOLDERS[folder];
        let Some(bytes) = bytes(folder, if stored { "state.tfstate" } else { "show.json" }) else { return Ok(()) };
        let mut document: Value = serde_json::from_slice(&bytes).unwrap();
        let mut all = Vec::new();
        places(&document, &mut Vec::new(), &mut all);
        mutate(&mut document, &all[place.index(all.len())], replacement);
        if let Err(error) = terraform::read(&serde_json::to_vec(&document).unwrap()) {
            let message = error.to_string();
            for canary in canaries(folder) {
                prop_assert!(!message.contains(&canary), "{message}");
            }
        }
    }
}
