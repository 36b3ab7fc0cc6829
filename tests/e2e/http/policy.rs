use serde_json::json;

use super::*;

const REFUSED: &str = "file paths are disabled by the deployment administrator; clear file_path or use env_name";

/// A file secret from before the administrator turned files off.
fn legacy() -> Api {
    let world = Api::new();
    world.create(json!({ "name": "f", "value": "v", "file_path": "~/f" })).is(201);
    world.create(json!({ "name": "both", "value": "v", "env_name": "B", "file_path": "~/b" })).is(201);
    world.policy(false)
}

#[test]
fn post_user_secret_file_path_disabled() {
    let world = Api::with(&[NO_FILES]);
    for enabled in [true, false] {
        let body = json!({ "name": "a", "value": "v", "env_name": "A", "file_path": "~/a", "enabled": enabled });
        assert_eq!(world.create(body).is(400).faults(), [("file_path", REFUSED)]);
    }
    let once = world.create(json!({ "name": "a", "value": "v", "file_path": "a" })).is(400);
    assert_eq!(once.faults(), [("file_path", "file path must start with ~/ or /")]);
    world.create(json!({ "name": "env", "value": "v", "env_name": "A" })).is(201);
    world.create(json!({ "name": "none", "value": "v" })).is(201);
    world.import("env", "IMPORTED=1\nPATH=2").is(201);
    let capabilities = "/deployment/user-secrets/capabilities";
    assert_eq!(world.get(capabilities).is(200).body, json!({ "file_path_delivery_enabled": false }));
    let world = world.policy(true);
    assert_eq!(world.get(capabilities).is(200).body, json!({ "file_path_delivery_enabled": true }));
    world.create(json!({ "name": "file", "value": "v", "file_path": "~/a" })).is(201);
}

#[test]
fn patch_user_secret_file_path_disabled_allows() {
    let world = legacy();
    for (name, body) in [
        ("f", json!({ "description": "unrelated edit" })),
        ("f", json!({ "value": "new", "file_path": "~/f" })),
        ("f", json!({ "enabled": false })),
        // Ours: enabled is intent; the file is not delivered either way.
        ("f", json!({ "enabled": true })),
        ("f", json!({ "env_name": "F", "file_path": "" })),
        ("both", json!({ "env_name": "" })),
        ("both", json!({ "env_name": "B" })),
        ("both", json!({ "file_path": "" })),
    ] {
        world.patch(name, body).is(200);
    }
}

#[test]
fn patch_user_secret_file_path_disabled_disabling_does_not_clear_the_stored_path() {
    let world = legacy();
    assert_eq!(world.patch("f", json!({ "enabled": false })).is(200).body["file_path"], "~/f");
}

#[test]
fn patch_user_secret_file_path_disabled_refuses() {
    let world = legacy();
    world.create(json!({ "name": "env", "value": "v", "env_name": "E" })).is(201);
    for (name, path) in [("env", "~/new"), ("f", "~/changed"), ("f", "~/f/")] {
        let refused = world.patch(name, json!({ "file_path": path })).is(400);
        assert_eq!(refused.faults(), [("file_path", REFUSED)]);
        let entry = &world.audited(1)[0];
        assert_eq!(
            (&entry["action"], &entry["target"], &entry["status"]),
            (&json!("write"), &json!(name), &json!(400))
        );
        assert_eq!(entry["diff"], json!({}));
    }
    world.patch("f", json!({ "description": "fine" })).is(200);
    let entry = &world.audited(1)[0];
    assert_eq!(entry["status"], 200);
    assert_eq!(entry["diff"], json!({ "description": { "old": "", "new": "fine" } }));
    world.policy(true).patch("env", json!({ "file_path": "~/new" })).is(200);
}
