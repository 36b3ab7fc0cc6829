use serde_json::json;

use super::*;

#[test]
fn import_user_secrets_success() {
    let world = Api::new();
    let made = world.import("env", "B=canary1\nA=canary2\nPATH=canary3\n").is(201);
    let names: Vec<_> = made.body.as_array().unwrap().iter().map(|secret| secret["name"].clone()).collect();
    assert_eq!(names, ["B", "A", "PATH"]);
    assert_eq!(made.body[0]["env_name"], "B");
    assert_eq!(made.body[2]["env_name"], "");
    assert!(!made.body.to_string().contains("canary"));
    assert!(world.audited(3).iter().all(|entry| entry["action"] == "create" && entry["status"] == 201));
}

#[test]
fn import_user_secrets_body_too_large() {
    let world = Api::new();
    let content = "x".repeat(8 * 1024 * 1024);
    world.import("env", &content).is(413);
    let refused = world.import("env", &content[..1_048_577]).is(400);
    assert_eq!(refused.body["detail"], "secrets file exceeds the maximum allowed size of 1048576 bytes");
}

#[test]
fn import_user_secrets_parse_errors() {
    let world = Api::new();
    for (format, content, detail) in [
        ("", "A=1", "a secrets file format is required"),
        ("toml", "A=1", "unknown secrets file format"),
        ("env", "", "no secrets found in file"),
        ("env", "A=1\nB", "line 2: expected KEY=VALUE but found no '='"),
        ("env", "A=1\nA=2", "duplicate key \"A\" on line 2"),
    ] {
        let refused = world.import(format, content).is(400);
        assert_eq!(refused.message(), "Failed to parse secrets file.");
        assert_eq!(refused.body["detail"], detail);
    }
}

#[test]
fn import_user_secrets_validation_rollback() {
    let world = Api::new();
    let long = format!("A=1\nB={}", "x".repeat(24_577));
    for (content, field, detail) in [
        ("A=1\n\nB=", "secrets[1].value", "Secret \"B\" on line 3: Value is required."),
        (&long, "secrets[1].value", "Secret \"B\" on line 2: secret value must not exceed 24576 bytes"),
        ("A=1\nx/y=1", "secrets[1].name", "Secret \"x/y\" on line 2: Name must not contain /, ?, or #."),
    ] {
        let refused = world.import("env", content).is(400);
        assert_eq!(refused.message(), "Validation failed.");
        assert_eq!(refused.faults(), [(field, detail)]);
    }
    let json = world.import("json", r#"{"A": "1", "B": ""}"#).is(400);
    assert_eq!(json.faults(), [("secrets[1].value", "Secret \"B\": Value is required.")]);
    assert!(world.alice.names().is_empty());
}

#[test]
fn import_user_secrets_every_conflict_is_listed() {
    let world = Api::new();
    world.import("env", "A=1\nB=2\nC=3").is(201);
    world.create(json!({ "name": "other", "value": "v", "env_name": "D" })).is(201);
    let refused = world.import("env", "NEW=0\nA=1\nB=2\nC=3\nD=4").is(409);
    assert_eq!(refused.message(), "Some secrets already exist.");
    assert_eq!(refused.fields(), ["secrets[1].name", "secrets[2].name", "secrets[3].name", "secrets[4].env_name"]);
    assert_eq!(refused.faults()[0].1, "Secret \"A\" on line 2: name already in use");
    assert_eq!(
        refused.faults()[3].1,
        "Secret \"D\" on line 5: environment variable already in use by secret \"other\""
    );
    assert_eq!(world.alice.names(), ["A", "B", "C", "other"]);
}

#[test]
fn import_user_secrets_independent_dimensions_on_different_secrets() {
    let world = Api::new();
    world.create(json!({ "name": "KEY", "value": "v" })).is(201);
    world.create(json!({ "name": "other", "value": "v", "env_name": "KEY" })).is(201);
    let refused = world.import("env", "KEY=1").is(409);
    assert_eq!(refused.fields(), ["secrets[0].name", "secrets[0].env_name"]);
}

#[test]
fn import_user_secrets_per_entry_error_name_truncated() {
    let world = Api::new();
    let lines: Vec<String> = (0..50).map(|n| format!("{n}{}=", "k".repeat(20_000))).collect();
    let refused = world.import("env", &lines.join("\n")).is(400);
    assert!(refused.fields().len() >= 50);
    assert!(refused.length < 64 * 1024, "{}", refused.length);
}

#[test]
fn import_user_secrets_limits() {
    let world = Api::new();
    let file = |range: std::ops::Range<usize>| range.map(|n| format!("K{n}=v\n")).collect::<Vec<_>>().concat();
    world.import("env", &file(0..48)).is(201);
    let refused = world.import("env", &file(100..105)).is(400);
    assert_eq!(refused.message(), "User secrets limit reached.");
    assert_eq!(
        refused.body["detail"],
        "Each user can have at most 50 secrets. You have 48 and the file has 5: remove at least 3."
    );
    let conflict_beats_capacity = world.import("env", &file(47..52)).is(409);
    assert_eq!(conflict_beats_capacity.message(), "Some secrets already exist.");
    world.import("env", &file(48..50)).is(201);
    assert_eq!(world.alice.names().len(), 50);
}

#[test]
fn import_user_secrets_byte_limits_name_the_entry() {
    let world = Api::new();
    let half = "x".repeat(12_288);
    let refused = world.import("env", &format!("A={half}\nB={half}\nC=1")).is(400);
    assert_eq!(refused.message(), "Environment-injected user secrets bytes limit reached.");
    assert!(refused.body["detail"].as_str().unwrap().starts_with("Entry secrets[2] (\"C\"): "));
    assert!(world.alice.names().is_empty());
    world.import("env", &format!("A={half}\nB={half}")).is(201);
}
