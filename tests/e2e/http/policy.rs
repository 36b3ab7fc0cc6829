use serde_json::json;
use tests::DEV;

use super::*;
use crate::peers::client::Client;

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

const DENIED: [&str; 4] =
    ["--deny-user-secret-env-name", "@code,NODE_*", "--deny-user-secret-file-path", "@code,~/.ssh/*,/etc/*"];
const DENIED_PATH: &str = "this path is denied by the deployment administrator";

#[test]
fn targets_that_the_administrator_denies_are_refused() {
    let world = Api::with(&DENIED);
    let refused =
        world.create(json!({ "name": "a", "value": "v", "env_name": "PROMPT_COMMAND", "file_path": "~/.bashrc" }));
    let denied = ("env_name", "PROMPT_COMMAND is denied by the deployment administrator");
    assert_eq!(refused.is(400).faults(), [denied, ("file_path", DENIED_PATH)]);
    for path in ["/home/alice/.ssh/authorized_keys", "~//.ssh/./config", "/etc/profile.d/x.sh", "~/x/../.bashrc"] {
        let refused = world.create(json!({ "name": "a", "value": "v", "file_path": path })).is(400);
        assert_eq!(refused.faults(), [("file_path", DENIED_PATH)], "{path}");
    }
    let imported = world.import("env", "OTHER=1\nNODE_OPTIONS=2").is(400);
    assert_eq!(imported.faults().len(), 1);
    assert!(imported.faults()[0].1.contains("NODE_OPTIONS is denied by the deployment administrator"));
    world.create(json!({ "name": "a", "value": "v", "env_name": "A", "file_path": "~/a" })).is(201);
    for change in [json!({ "env_name": "node_path" }), json!({ "file_path": "~/.ssh/id" })] {
        assert_eq!(world.patch("a", change).is(400).faults().len(), 1);
    }
    let _ = world.alice.coder(["secret", "update", "a", "--env", "PROMPT_COMMAND"]).run().exits(1).complains(denied.1);
}

/// Stored before the policy: kept, and not delivered any more. The owner is told in the startup log.
#[test]
fn a_denied_target_that_is_stored_is_not_delivered() {
    let mut world = Api::new();
    world.create(json!({ "name": "prompt", "value": "v", "env_name": "PROMPT_COMMAND" })).is(201);
    world.create(json!({ "name": "both", "value": "v", "env_name": "B", "file_path": "~/.bashrc" })).is(201);
    let workspace = world.env.workspace(DEV);
    let delivered = |world: &Api| {
        let mut secrets = Client::dial(&world.server, workspace.token()).secrets();
        secrets.sort();
        secrets.into_iter().map(|(env, file, _)| (env, file)).collect::<Vec<_>>()
    };
    let of = |env: &str, file: &str| (env.to_owned(), file.to_owned());
    assert_eq!(delivered(&world), [of("B", "~/.bashrc"), of("PROMPT_COMMAND", "")]);
    world.restart(&DENIED);
    assert_eq!(delivered(&world), [of("B", "")]);
    let log = workspace.show_agent()["startup_log"].to_string();
    for (secret, target) in [("prompt", "PROMPT_COMMAND"), ("both", "~/.bashrc")] {
        let line =
            format!("secret {secret} was not delivered: the deployment administrator denies the target {target}");
        assert!(log.contains(&line), "{log}");
    }
    world.patch("prompt", json!({ "description": "an edit of something else" })).is(200);
    world.patch("prompt", json!({ "env_name": "OTHER" })).is(200);
    assert_eq!(delivered(&world), [of("B", ""), of("OTHER", "")]);
}

#[test]
fn a_pattern_that_matches_nothing_stops_the_start() {
    let env = Env::quiet();
    for (flag, pattern) in [("--deny-user-secret-env-name", "A-B"), ("--deny-user-secret-file-path", ".bashrc")] {
        let refused = env.admin(["serve", "--listen", "127.0.0.1:0", flag, pattern]).run().exits(2);
        let _ = refused.complains(&format!("{flag} has \"{pattern}\"")).complains("a pattern of");
    }
}
