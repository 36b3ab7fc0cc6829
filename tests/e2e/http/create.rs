use serde_json::json;

use super::*;

#[test]
fn post_user_secret_success() {
    let world = Api::new();
    let body = json!({
        "name": "github", "value": "ghp_x", "description": "d", "env_name": "GH", "file_path": "~/.gh", "enabled": true,
    });
    let made = world.create(body).is(201);
    for (field, value) in [("name", "github"), ("description", "d"), ("env_name", "GH"), ("file_path", "~/.gh")] {
        assert_eq!(made.body[field], value);
    }
    assert_eq!(made.body["enabled"], true);
    assert_eq!(made.body["created_at"], made.body["updated_at"]);
    assert!(made.body.get("value").is_none() && !made.body.to_string().contains("ghp_x"));
}

#[test]
fn post_user_secret_invalid() {
    let world = Api::new();
    let long = "x".repeat(24_577);
    for (body, field, detail) in [
        (json!({ "value": "v" }), "name", "Name is required."),
        (json!({ "name": "n" }), "value", "Value is required."),
        (json!({ "name": "n", "value": "" }), "value", "Value is required."),
        (json!({ "name": "a/b", "value": "v" }), "name", "Name must not contain /, ?, or #."),
        (json!({ "name": " a", "value": "v" }), "name", "Name must not have leading or trailing whitespace."),
        (
            json!({ "name": "n", "value": "v", "env_name": "1A" }),
            "env_name",
            "must start with a letter or underscore, followed by letters, digits, or underscores",
        ),
        (
            json!({ "name": "n", "value": "v", "env_name": "PATH" }),
            "env_name",
            "PATH is a reserved environment variable name",
        ),
        (
            json!({ "name": "n", "value": "v", "env_name": "CODER_X" }),
            "env_name",
            "environment variable names starting with CODER_ are reserved for internal use",
        ),
        (json!({ "name": "n", "value": "v", "file_path": "x" }), "file_path", "file path must start with ~/ or /"),
        (json!({ "name": "a\0b", "value": "v" }), "name", "Name must not contain null bytes."),
        (
            json!({ "name": "n", "value": "v", "description": "\0" }),
            "description",
            "Description must not contain null bytes.",
        ),
        (json!({ "name": "n", "value": "a\0b" }), "value", "secret value must not contain null bytes"),
        (json!({ "name": "n", "value": long }), "value", "secret value must not exceed 24576 bytes"),
    ] {
        let refused = world.create(body).is(400);
        assert_eq!(refused.message(), "Validation failed.");
        assert_eq!(refused.faults(), [(field, detail)]);
    }
    assert!(world.alice.names().is_empty());
    world.create(json!({ "name": "n", "value": "x".repeat(24_576), "env_name": "N" })).is(201);
}

#[test]
fn post_user_secret_multi_invalid_in_order() {
    let world = Api::new();
    let refused = world.create(json!({ "env_name": "1", "file_path": "x" })).is(400);
    assert_eq!(refused.fields(), ["name", "value", "env_name", "file_path"]);
}

#[test]
fn post_user_secret_duplicates() {
    let world = Api::new();
    world.create(json!({ "name": "a", "value": "v", "env_name": "A", "file_path": "~/a" })).is(201);
    for (body, fault) in [
        (json!({ "name": "a", "value": "v" }), ("name", "name already in use")),
        (json!({ "name": "b", "value": "v", "env_name": "A" }), ("env_name", "environment variable already in use")),
        (json!({ "name": "b", "value": "v", "file_path": "~/a" }), ("file_path", "file path already in use")),
    ] {
        assert_eq!(world.create(body).is(409).faults(), [fault]);
    }
    let other = [("name", "a"), ("env_name", "a"), ("file_path", "~/A")];
    let others: Value = other
        .into_iter()
        .chain([("value", "v")])
        .collect::<std::collections::HashMap<_, _>>()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    world.call(&world.bob, Method::POST, SECRETS, Some(others.clone())).is(201);
    let mut same_but_case = others;
    same_but_case["name"] = json!("A");
    world.create(same_but_case).is(201);
}

/// Ours: `enabled` is intent, so what has no target yet may be enabled.
#[test]
fn post_user_secret_missing_injection_target_is_stored() {
    let world = Api::new();
    for (name, enabled) in [("on", true), ("off", false)] {
        let made = world.create(json!({ "name": name, "value": "v", "enabled": enabled })).is(201);
        assert_eq!(made.body["enabled"], enabled);
    }
    assert_eq!(world.create(json!({ "name": "unsaid", "value": "v" })).is(201).body["enabled"], true);
}

#[test]
fn post_user_secret_forbidden_for_another_user() {
    let world = Api::new();
    for user in ["bob", "BOB", "nobody", &uuid::Uuid::new_v4().to_string()] {
        let path = format!("/users/{user}/secrets");
        let body = json!({ "name": "n", "value": "v" });
        world.call(&world.alice, Method::POST, &path, Some(body)).is(403);
    }
    assert_eq!(world.audited(1)[0]["status"], 403);
}

#[test]
fn a_refusal_is_audited_with_an_empty_diff_and_never_the_value() {
    let world = Api::new();
    world.create(json!({ "name": "n", "value": "canary-value", "env_name": "PATH" })).is(400);
    let entry = &world.audited(1)[0];
    assert_eq!((&entry["action"], &entry["target"], &entry["status"]), (&json!("create"), &json!("n"), &json!(400)));
    assert_eq!((&entry["diff"], &entry["address"]), (&json!({}), &json!("127.0.0.1")));
}
