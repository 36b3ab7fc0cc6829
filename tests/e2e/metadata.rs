//! Metadata: collected in the workspace, masked, shown by the server.

use std::fs;

use serde_json::Value;
use tests::{Fault, LONG, Proxy, Workspace, World, wait_for, wait_until};

const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  metadata:
    - { key: count, display_name: Count, interval: 1, script: 'echo x >> ~/count; wc -l < ~/count' }
    - { key: once, display_name: Once, interval: 0, script: 'echo x >> ~/once; echo "$TEAM_NAME"' }
    - { key: leak, display_name: Leak, interval: 1, script: 'echo "key: $API_KEY"; echo "$API_KEY" >&2' }
    - { key: fails, display_name: Fails, interval: 1, script: 'echo partly; exit 3' }
    - { key: slow, display_name: Slow, interval: 1, timeout: 1, script: 'sleep 1000' }
"#;

fn item(workspace: &Workspace, key: &str) -> Value {
    let mut agent = workspace.show_agent();
    let items = agent["metadata"].as_array_mut().expect("metadata");
    items.iter_mut().find(|item| item["key"] == key).expect("the item").take()
}

/// Waits until an item has a value or an error that `accept` takes.
#[track_caller]
fn wait_item(workspace: &Workspace, key: &str, accept: impl Fn(&str, &str) -> bool) -> Value {
    wait_for(&format!("metadata {key}"), LONG, || {
        let item = item(workspace, key);
        accept(item["value"].as_str()?, item["error"].as_str()?).then_some(item)
    })
}

fn count(value: &str) -> u32 {
    value.trim().parse().unwrap_or_default()
}

#[test]
fn values_are_collected_by_their_intervals_masked_and_shown() {
    let world = World::with(DEFINITION);
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let agent = world.agent().env("TEAM_NAME", "blue").start();
    let workspace = &world.workspace;

    wait_item(workspace, "count", |value, _| count(value) >= 3);
    let once = wait_item(workspace, "once", |value, _| value == "blue");
    assert_eq!(agent.read("once"), "x\n");
    let leak = wait_item(workspace, "leak", |value, _| value.starts_with("key: "));
    assert_eq!(leak["value"], "key: ********\n********");
    let fails = wait_item(workspace, "fails", |_, error| !error.is_empty());
    assert_eq!((fails["value"].as_str(), fails["error"].as_str()), (Some("partly"), Some("exit code 3")));
    wait_item(workspace, "slow", |value, error| value.is_empty() && error == "not done within 1s");
    assert!(once["collected_at"].is_string(), "{once}");
    world.env.hunt();
}

#[test]
fn what_was_collected_without_a_connection_arrives_with_the_next_one() {
    let World { env, server, workspace, .. } = World::with(DEFINITION);
    let proxy = Proxy::new(server.url());
    let agent = env.agent(&proxy, &workspace).env("TEAM_NAME", "blue").start();
    let first = wait_item(&workspace, "count", |value, _| count(value) >= 1);

    proxy.set(Fault::Refuse);
    proxy.cut();
    let shown = count(first["value"].as_str().unwrap_or_default());
    let lines = || fs::read_to_string(agent.home().join("count")).unwrap_or_default().lines().count();
    wait_until("collecting to go on without a connection", LONG, || lines() > shown as usize + 3);
    proxy.set(Fault::None);
    wait_item(&workspace, "count", |value, _| count(value) > shown + 3);
    // A new manifest does not collect again what is collected once.
    assert_eq!(agent.read("once"), "x\n");
}
