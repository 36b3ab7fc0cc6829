use serde_json::json;

use super::*;

fn world() -> Api {
    let world = Api::new();
    world.create(json!({ "name": "a", "value": "v", "description": "d", "env_name": "A" })).is(201);
    world
}

#[test]
fn patch_user_secret_update_description() {
    let world = world();
    let before = world.get(&format!("{SECRETS}/a")).body;
    let after = world.patch("a", json!({ "description": "new" })).is(200).body;
    for field in ["id", "name", "env_name", "file_path", "enabled", "created_at"] {
        assert_eq!(before[field], after[field]);
    }
    assert_eq!(after["description"], "new");
    assert_ne!(before["updated_at"], after["updated_at"]);
}

#[test]
fn patch_user_secret_no_fields_and_not_found() {
    let world = world();
    for body in [json!({}), json!({ "name": "b" })] {
        assert_eq!(world.patch("a", body).is(400).message(), "At least one field must be provided.");
    }
    world.patch("missing", json!({ "value": "x" })).is(404);
}

#[test]
fn patch_user_secret_conflicts() {
    let world = world();
    world.create(json!({ "name": "b", "value": "v", "env_name": "B", "file_path": "~/b" })).is(201);
    let refused = world.patch("a", json!({ "env_name": "B", "file_path": "~/b" })).is(409);
    assert_eq!(
        refused.faults(),
        [("env_name", "environment variable already in use"), ("file_path", "file path already in use")]
    );
    world.patch("a", json!({ "env_name": "A" })).is(200);
}

#[test]
fn patch_user_secret_invalid() {
    let world = world();
    for (body, fields) in [
        (json!({ "env_name": "PATH" }), ["env_name"].as_slice()),
        (json!({ "file_path": "./x" }), &["file_path"]),
        (json!({ "value": "a\0" }), &["value"]),
        (json!({ "value": "a\0", "env_name": "1", "file_path": "x" }), &["value", "env_name", "file_path"]),
    ] {
        assert_eq!(world.patch("a", body).is(400).fields(), fields);
    }
    world.patch("a", json!({ "value": "" })).is(200);
}

#[test]
fn patch_user_secret_toggle_enabled() {
    let world = world();
    for enabled in [false, true] {
        assert_eq!(world.patch("a", json!({ "enabled": enabled })).is(200).body["enabled"], enabled);
    }
}

/// Ours: the reference refuses this for an enabled secret.
#[test]
fn patch_user_secret_clearing_both_targets_keeps_it_stored() {
    let world = world();
    let cleared = world.patch("a", json!({ "env_name": "" })).is(200).body;
    assert_eq!((&cleared["env_name"], &cleared["enabled"]), (&json!(""), &json!(true)));
    world.patch("a", json!({ "enabled": false })).is(200);
    world.patch("a", json!({ "enabled": true })).is(200);
}

#[test]
fn patch_user_secret_atomic_env_file_swap() {
    let world = world();
    let swapped = world.patch("a", json!({ "env_name": "", "file_path": "~/a" })).is(200).body;
    assert_eq!((&swapped["env_name"], &swapped["file_path"]), (&json!(""), &json!("~/a")));
}
