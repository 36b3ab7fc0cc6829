//! The administrator's commands beside a running server, and the shapes that scripts rely on.

mod failures;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tests::{Env, SHORT, Server, User, Workspace, is_about_the_file, wait_until};

use crate::faults::writes::{Writer, value};
use crate::peers::End;
use crate::peers::client::Client;
use crate::peers::wire::Field;

const DEFINITION: &str = r"
owner: alice
name: dev
agent:
  name: main
  env: { TEMPLATE_TOKEN: template-value-of-the-definition }
";

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn users_and_tokens() {
    let env = Env::new();
    let server = env.server();
    let made = env.admin(["user", "create", "alice", "--json"]).reveals().run().success().json();
    assert_eq!(keys(&made), BTreeSet::from(["username", "session_token"]));
    assert_eq!(made["username"], "alice");
    let first = made["session_token"].as_str().unwrap();
    let made = env.admin(["token", "create", "alice", "--json"]).reveals().run().success().json();
    assert_eq!(keys(&made), BTreeSet::from(["username", "session_token"]));
    let second = made["session_token"].as_str().unwrap();
    for token in [first, second] {
        env.watch("session token", token.as_bytes());
    }

    let me = |token: &str| tests::Rest::new(server.url(), token).get("/users/me").status;
    assert_eq!((me(first), me(second)), (200, 200));
    let listed = env.admin(["token", "list", "--json"]).run().success().json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let expected = BTreeSet::from([
        "id",
        "username",
        "name",
        "kind",
        "scope",
        "created_at",
        "expires_at",
        "last_used_at",
        "last_used_from",
    ]);
    assert!(listed.iter().all(|token| keys(token) == expected), "{listed:?}");
    // The public half, by which it is revoked.
    let id = first.split('-').next().unwrap();
    assert!(listed.iter().any(|token| token["id"] == id), "{listed:?}");
    let _ = env.admin(["token", "revoke", id]).run().success().says(id);
    assert_eq!((me(first), me(second)), (401, 200));
    let _ = env.admin(["token", "revoke", id]).run().exits(1).complains(&format!("there is no token {id}"));
}

/// A manifest but for the field in which the server counts changes: a new token and a restore are some.
fn manifest(client: &Client) -> Vec<(u32, Field)> {
    let generation = 10_002;
    client.manifest().into_iter().filter(|(field, _)| *field != generation).collect()
}

#[test]
fn a_definition_applied_again_changes_nothing() {
    let env = Env::new();
    let server = env.server();
    env.user("alice");
    env.watch("template value", b"template-value-of-the-definition");
    // Not through the helper, because the shape is what counts; in a home, because it holds a value.
    let file = env.home().join("dev.yaml");
    fs::write(&file, DEFINITION).unwrap();
    let apply = |flags: &[&str]| {
        let run = env.admin(["workspace", "apply", "--json"]).args(flags).arg(&file);
        let mut applied = run.reveals().run().success().json();
        // What scripts rely on; there is more beside it.
        let workspace = &applied["workspaces"][0];
        let expected = BTreeSet::from([
            "owner", "name", "agents", "created", "stopped", "build_id", "changes", "removed", "notes",
        ]);
        assert_eq!(keys(workspace), expected);
        let kept = ["owner", "name", "agents"].map(|key| (key.to_owned(), workspace[key].clone()));
        applied["workspaces"][0] = kept.into_iter().collect();
        applied
    };
    let first = apply(&[]);
    let token = first["workspaces"][0]["agents"][0]["token"].as_str().unwrap().to_owned();
    env.watch("agent token", token.as_bytes());
    let shape = |token: Value| json!({"workspaces": [{"owner": "alice", "name": "dev", "agents": [{"name": "main", "token": token}]}]});
    assert_eq!(first, shape(token.clone().into()));
    assert_eq!(apply(&[]), shape(Value::Null));

    let session = Client::dial(&server, &token);
    let before = manifest(&session);
    assert_eq!(apply(&[]), shape(Value::Null));
    assert!(session.is_open() && manifest(&session) == before, "ids of an agent do not change");
    let rotated = apply(&["--rotate-tokens"]);
    let rotated = rotated["workspaces"][0]["agents"][0]["token"].as_str().unwrap();
    env.watch("rotated token", rotated.as_bytes());
    assert_ne!(rotated, token);
    assert_eq!(session.ending(), End::Close(1000));
    let refused =
        Client::try_dial(&server, "", &[("Coder-Session-Token", &token)]).err().expect("the old token is refused");
    assert_eq!(refused.status, 401);
    assert!(manifest(&Client::dial(&server, rotated)) == before);
}

#[test]
fn what_is_shown_of_a_workspace() {
    let env = Env::new();
    let server = env.server();
    let alice = env.user("alice");
    alice.secret("api-key", &["--env", "API_KEY"]);
    let workspace = env.workspace(
        "owner: alice\nname: dev\nagent:\n  name: main\n  scripts:\n    - { display_name: Hello, run_on_start: true, script: echo hello }\n",
    );
    let agent = env.agent(&server, &workspace).start();
    workspace.wait_lifecycle("ready");
    // A connection is written down a little after it was made, for the boot's sake.
    wait_until("the connection", SHORT, || workspace.show_agent()["status"] == "connected");
    let shown = workspace.show();
    assert_eq!((&shown["owner"], &shown["name"]), (&"alice".into(), &"dev".into()));
    let shown = &shown["agents"][0];
    for field in
        ["status", "lifecycle_state", "lifecycle", "startup_log", "script_results", "metadata", "target_outcomes"]
    {
        assert!(keys(shown).contains(field), "no {field}: {shown}");
    }
    assert_eq!((&shown["status"], &shown["last_delivery"]["secrets"]), (&"connected".into(), &1.into()));
    let text = env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ = text.says("Hello").says("exit code 0").says("connected").says("1 delivered");
    drop(agent);
    workspace.wait_lifecycle("off");
}

struct Rotating {
    env: Env,
    server: Server,
    alice: User,
    workspace: Workspace,
}

impl Rotating {
    fn new() -> Self {
        let env = Env::new();
        let server = env.server_with(["--rate-limit", "0"]);
        let alice = env.user("alice");
        for n in 0..20 {
            alice.secret(&format!("secret-{n:02}"), &["--env", &format!("SECRET_{n:02}")]);
        }
        let workspace = env.workspace(DEFINITION);
        Self { env, server, alice, workspace }
    }
}

#[test]
fn keys_are_rotated_while_the_server_serves_and_clients_write() {
    let Rotating { env, mut server, alice, workspace } = Rotating::new();
    let key_file = env.data_dir().join("encryption.key");
    let old = fs::read(&key_file).unwrap();
    let client = Client::dial(&server, workspace.token());
    let before = client.secrets();
    for name in ["a", "b"] {
        let _ = alice.coder(["secret", "create", name, "--env", name]).stdin(value(0)).run().success();
    }
    let writers: Vec<_> = ["a", "b"].iter().map(|name| Writer::start(&alice, name, 0)).collect();
    for (args, old_key) in [(&["keys", "rotate"][..], "stays in"), (&["keys", "rotate", "--forget"], "is no longer in")]
    {
        Writer::wait_for_all(&writers, 2);
        let said = env.admin(args).run().success();
        let _ = said.says("encrypts now").says(old_key);
    }
    Writer::wait_for_all(&writers, 2);
    let written: Vec<_> = writers.into_iter().map(Writer::finish).collect();
    assert!(written.iter().all(|written| written.acknowledged == written.sent), "a write failed: {written:?}");

    let expected = |secrets: Vec<(String, String, String)>| {
        let numbers: Vec<_> = secrets[..2].iter().map(|(_, _, value)| value.clone()).collect();
        assert_eq!(numbers, written.iter().map(|written| value(written.acknowledged)).collect::<Vec<_>>());
        assert!(secrets[2..] == before[..]);
    };
    expected(client.secrets());
    assert_eq!(server.terminate().code, Some(0));
    let log = server.stderr();
    assert!(!log.contains("ERROR"), "{log}");
    drop(server);

    let new = fs::read(&key_file).unwrap();
    fs::write(&key_file, old).unwrap();
    let serve = || env.admin(["serve", "--listen", "127.0.0.1:0"]);
    let _ = serve().run().exits(2).complains("the database needs encryption key");
    fs::write(&key_file, new).unwrap();
    let server = env.server();
    expected(Client::dial(&server, workspace.token()).secrets());
}

#[test]
fn a_backup_restored_elsewhere_serves_the_same_manifest() {
    if !is_about_the_file("a_backup_restored_elsewhere_serves_the_same_manifest") {
        return;
    }
    let Rotating { env, server, alice, workspace } = Rotating::new();
    let client = Client::dial(&server, workspace.token());
    let before = manifest(&client);
    let writer = {
        let _ = alice.coder(["secret", "create", "busy"]).stdin(value(0)).run().success();
        Writer::start(&alice, "busy", 0)
    };
    writer.wait(2);
    let backup = env.path("backup.db");
    let said = env.admin(["backup"]).arg(&backup).run().success();
    let _ = said.says("It holds no key").says("encryption.key");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    writer.wait(2);
    writer.finish();

    let other = env.path("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    let key = other.join("encryption.key");
    fs::copy(env.data_dir().join("encryption.key"), &key).unwrap();
    let elsewhere = |args: &[&str]| env.program(&tests::binaries().server).args(args).arg("--data-dir").arg(&other);
    let _ = elsewhere(&["restore", "--keep-tokens"]).arg(&backup).run().success().says("Restored");
    let mut successor = elsewhere(&["serve", "--listen", "127.0.0.1:0"]).spawn("successor");
    let line = successor.line_with("listening on ", tests::LONG);
    let url = line.split("listening on ").nth(1).unwrap();
    assert!(manifest(&Client::dial(url, workspace.token())) == before);
    // The session token works there as well, and the first server has not noticed anything.
    assert_eq!(
        tests::Rest::new(url, &alice.token).get("/users/me/secrets").expect(200).json.as_array().unwrap().len(),
        21
    );
    assert!(client.is_open() && manifest(&client) == before);
}

/// Nobody but the administrator on the server's machine has these; all of it is in the audit log.
#[test]
fn what_an_administrator_did_is_audited() {
    let env = Env::new();
    let server = env.server();
    env.user("alice");
    env.workspace(DEFINITION);
    let _ = env.admin(["token", "create", "alice"]).reveals().run().success();
    let _ = env.admin(["keys", "rotate"]).run().success();
    let audit = env.admin(["audit", "--json"]).run().success().json();
    let done: BTreeSet<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["actor_kind"] == "administrator")
        .map(|record| format!("{} {}", record["action"], record["resource"]).replace('"', ""))
        .collect();
    for deed in ["create user", "create session_token", "rotate encryption_key"] {
        assert!(done.contains(deed), "no {deed:?} in {done:?}");
    }
    assert!(done.iter().any(|deed| deed.ends_with("workspace")), "{done:?}");
    drop(server);
}
