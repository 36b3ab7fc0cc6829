//! `coder secret update`, `enable` and `disable`, and names that are hard to reach.

use super::{World, recorder};
use tests::Env;

#[test]
fn server_validation_error() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let run = world.alice.coder(["secret", "update", "api-key"]).run().exits(1);
    let _ = run.complains("update secret \"api-key\": At least one field must be provided.");
}

#[test]
fn allows_clearing_fields() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY", "--file", "~/.key", "--description", "For tools"]);
    let out = world.alice.coder(["secret", "update", "api-key", "--file", "", "--description", ""]).run().success();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("Updated secret api-key.\n", ""));
    let stored = world.alice.stored("api-key");
    assert_eq!((&stored["file_path"], &stored["description"]), (&"".into(), &"".into()));
    assert_eq!(stored["env_name"], "API_KEY");
}

/// The reference refuses this; here the intent stays, and nothing is injected.
#[test]
fn clearing_both_targets_keeps_the_secret() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let _ = world.alice.coder(["secret", "update", "api-key", "--env", ""]).run().success();
    assert_eq!(world.alice.stored("api-key")["enabled"], true);
}

#[test]
fn updates_value_from_empty_flag_and_from_stdin() {
    let recorder = recorder();
    let env = Env::new();
    let update = || env.coder(["--url", recorder.url(), "secret", "update", "x"]);
    let _ = update().args(["--value", ""]).run().success();
    assert_eq!(recorder.body(), serde_json::json!({ "value": "" }));
    let _ = update().stdin("new").run().success();
    assert_eq!(recorder.body(), serde_json::json!({ "value": "new" }));
    // A script's stdin without a byte is no value.
    let _ = update().args(["--env", "NEW"]).run().success();
    assert_eq!(recorder.body(), serde_json::json!({ "env_name": "NEW" }));
    let _ = update().arg("--enabled=false").terminal("").run().success();
    assert_eq!(recorder.body(), serde_json::json!({ "enabled": false }));
}

#[test]
fn enable_and_disable() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    for (command, said, enabled) in [("disable", "Disabled", false), ("enable", "Enabled", true)] {
        let out = world.alice.coder(["secret", command, "api-key"]).run().success();
        assert_eq!(out.stdout, format!("{said} secret api-key.\n"));
        assert_eq!(world.alice.stored("api-key")["enabled"], enabled);
        let _ = world.alice.coder(["secret", command, "nope"]).run().exits(1).complains("secret \"nope\"");
    }
}

#[test]
fn a_name_that_would_be_another_route_reaches_none() {
    let world = World::new();
    world.alice.secret("ab", &["--env", "AB"]);
    for name in ["..", ".", "a/b", "", "ab?", "ab#"] {
        let _ = world.alice.coder(["secret", "delete", "--yes", "--", name]).run().exits(2).complains("Name ");
    }
    // The URL library would drop the tab.
    let _ = world.alice.coder(["secret", "delete", "--yes", "a\tb"]).run().exits(1);
    assert_eq!(world.alice.names(), ["ab"]);
}

#[test]
fn names_with_anything_legal_are_reached() {
    let world = World::new();
    for name in ["two words", "100%", "é", "a\\b", "%2e%2e", "..."] {
        let _ = world.alice.coder(["secret", "create", name, "--value", "v"]).run().success();
        let _ = world.alice.coder(["secret", "update", name, "--description", "found"]).run().success();
        let listed = world.alice.coder(["secret", "list", name, "-o", "json"]).run().success().json();
        assert_eq!((&listed[0]["name"], &listed[0]["description"]), (&name.into(), &"found".into()));
        let _ = world.alice.coder(["secret", "delete", "-y", name]).run().success();
    }
    assert_eq!(world.alice.names(), [""; 0]);
}
