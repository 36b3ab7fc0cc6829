//! Workspaces that their owner defines over the API, from YAML and from Terraform states.

mod states;

use std::fs;

use serde_json::{Value, json};
use tests::{DEV, Env, Rest, User, World};

use crate::peers::client::Client;

/// A user, signed in with a token that may define workspaces.
fn author(env: &Env, name: &str) -> User {
    let made = env.admin(["token", "create", name, "--scope", "workspaces", "--json"]).reveals().run().success().json();
    env.user_with_token(name, made["session_token"].as_str().unwrap())
}

/// Applies a definition of the author's home, where values may be.
fn apply(world: &World<()>, user: &User, definition: &str, flags: &[&str]) -> tests::Output {
    let file = world.env.home().join("dev.yaml");
    fs::write(&file, definition).unwrap();
    user.coder(["workspace", "apply"]).arg(&file).args(flags).reveals().run()
}

fn token(world: &World<()>, applied: &Value) -> String {
    let token = applied["workspaces"][0]["agents"][0]["token"].as_str().unwrap().to_owned();
    world.env.watch("agent token", token.as_bytes());
    token
}

#[test]
fn a_member_defines_shows_and_deletes_a_workspace() {
    let world = World::new();
    world.env.user("bob");
    let bob = author(&world.env, "bob");
    world.env.watch("template value", b"a-value-of-the-template");
    let definition = "name: dev\nagent:\n  name: main\n  env: { TOKEN: a-value-of-the-template }\n";
    let rehearsed = apply(&world, &bob, definition, &["--dry-run"]).success();
    let _ = rehearsed.says("would be created");
    assert_eq!(bob.rest().get("/workspaces").json["count"], 0);

    let applied = apply(&world, &bob, definition, &["--json"]).success().json();
    let agent = Client::dial(&world.server, &token(&world, &applied));
    assert!(agent.manifest().len() > 5);
    let build = applied["workspaces"][0]["build_id"].clone();
    let again = apply(&world, &bob, definition, &["--json"]).success().json();
    assert_eq!(again["workspaces"][0]["changes"], json!([]));
    assert_eq!(
        (&again["workspaces"][0]["build_id"], &again["workspaces"][0]["agents"][0]["token"]),
        (&build, &Value::Null)
    );
    let _ = apply(&world, &bob, definition, &[]).success().says("unchanged").says("(as before)");

    // A dry run names what changes, and changes nothing.
    let other = definition.replace("a-value-of-the-template }", "another, NEW: x }");
    let told = apply(&world, &bob, &other, &["--dry-run"]).success().says("would be updated");
    let _ = told.complains("bob/dev: agent main: variable TOKEN changed").complains("variable NEW added");
    let _ = apply(&world, &bob, definition, &[]).success().says("unchanged");
    let changed = apply(&world, &bob, &other, &["--json"]).success().json();
    assert_ne!(changed["workspaces"][0]["build_id"], build);

    let _ = bob.coder(["workspace", "list"]).run().success().says("bob/dev").says("main");
    let _ = bob.coder(["workspace", "show", "dev"]).run().success().says("workspace  bob/dev").says("running");
    let records = world.env.admin(["audit", "--user", "bob", "--json"]).run().success().json();
    let of_workspace = records.as_array().unwrap().iter().filter(|it| it["resource"] == "workspace");
    assert_eq!(of_workspace.map(|it| it["action"].as_str().unwrap()).collect::<Vec<_>>(), ["create", "write"]);
    let _ = bob.coder(["workspace", "delete", "dev", "--yes"]).run().success().says("Deleted workspace dev.");
    let _ = agent.ending();
    let _ = bob.coder(["workspace", "show", "dev"]).run().exits(1);
}

#[test]
fn a_token_that_only_manages_secrets_defines_nothing() {
    let world = World::new();
    let refused = apply(&world, &world.alice, DEV, &[]).exits(1);
    let _ = refused.complains("may not define workspaces").complains("coder login --scope workspaces");
    for (method, path) in [
        ("POST", "/definitions"),
        ("DELETE", "/definitions/alice/dev"),
        ("POST", "/definitions/me/dev/rotate-tokens"),
        ("POST", "/definitions/me/dev/metadata/00000000-0000-4000-8000-000000000000/reveal"),
    ] {
        let body = (method == "POST").then(|| json!({ "definitions": [] }).to_string());
        let _ = world.alice.rest().send(method.parse().unwrap(), path, body).expect(403);
    }
}

#[test]
fn faults_name_their_place_and_nothing_is_applied() {
    let world = World::with_server(["--max-workspaces-per-user", "1"]);
    world.env.user("bob");
    let alice = author(&world.env, "alice");
    let _ = apply(&world, &alice, "name: dev\nagent: { name: main }\ncolour: red\n", &[])
        .exits(2)
        .complains("dev.yaml:3: unknown field `colour`");
    let _ = apply(&world, &alice, &DEV.replace("alice", "bob"), &[])
        .exits(2)
        .complains("dev.yaml:1: workspace dev belongs to bob, and you are alice");
    let two = format!("{DEV}---\n{}", DEV.replace("dev", "two"));
    let _ = apply(&world, &alice, &two, &[])
        .exits(1)
        .complains("dev.yaml:5: alice has 1 workspaces, and no more are allowed");
    assert_eq!(alice.rest().get("/workspaces").json["count"], 0);
    let _ = apply(&world, &alice, &format!("{DEV}---\n{DEV}"), &[]).exits(2).complains("is defined at");
    // What the command line checks, the server checks again.
    for wrong in [json!({ "name": "a b" }), json!({ "name": "dev", "agents": [{ "name": "x", "token": "1" }] })] {
        let refused = alice.rest().post("/definitions", &json!({ "definitions": [wrong] })).expect(400);
        assert!(refused.validations()[0].starts_with("definitions[0]: "), "{}", refused.text);
    }
    // An administrator is not bound to the number.
    let file = world.env.write("two.yaml", &two);
    let _ = world.env.admin(["workspace", "apply"]).arg(file).reveals().run().success();
    let _ = world.env.admin(["workspace", "list"]).run().success().says("alice/two");
}

#[test]
fn tokens_are_rotated_by_their_owner() {
    let world = World::new();
    let alice = author(&world.env, "alice");
    let applied = apply(&world, &alice, DEV, &["--json"]).success().json();
    let old = token(&world, &applied);
    let session = Client::dial(&world.server, &old);
    let rotated = alice.coder(["workspace", "rotate-token", "dev", "--json"]).reveals().run().success().json();
    let new = rotated[0]["token"].as_str().unwrap();
    world.env.watch("rotated token", new.as_bytes());
    let _ = session.ending();
    let dial = |token: &str| Client::try_dial(&world.server, "", &[("Coder-Session-Token", token)]).map(drop);
    assert_eq!(dial(&old).unwrap_err().status, 401);
    assert!(dial(new).is_ok());
}

/// Each route, asked by everybody, with both scopes.
#[test]
fn who_may_ask_for_what() {
    let world = World::new();
    let [_, carol, dave] = ["bob", "carol", "dave"].map(|name| world.env.user(name));
    let _ = world.env.admin(["user", "role", "carol", "auditor"]).run().success();
    let [alice, bob, strong_carol, strong_dave] =
        ["alice", "bob", "carol", "dave"].map(|name| author(&world.env, name));
    let applied = apply(&world, &bob, "name: dev\nagent: { name: main }\n", &["--json"]).success().json();
    let agent_token = token(&world, &applied);
    let build = applied["workspaces"][0]["build_id"].as_str().unwrap();
    let weak = |user: &str| {
        let made = world.env.admin(["token", "create", user, "--json"]).reveals().run().success().json();
        world.env.user_with_token(user, made["session_token"].as_str().unwrap())
    };
    let weak_bob = weak("bob");
    let item = "00000000-0000-4000-8000-000000000000";
    let apply_body = json!({ "definitions": [], "dry_run": true });
    let routes = [
        ("GET", "/workspaces?q=owner:bob".to_owned(), None),
        ("GET", "/users/bob/workspace/dev".to_owned(), None),
        ("GET", format!("/workspacebuilds/{build}"), None),
        ("GET", format!("/workspacebuilds/{build}/resources"), None),
        ("POST", "/definitions".to_owned(), Some(apply_body)),
        ("POST", "/definitions/bob/nope/rotate-tokens".to_owned(), Some(json!({}))),
        ("POST", format!("/definitions/bob/dev/metadata/{item}/reveal"), Some(json!({}))),
        ("DELETE", "/definitions/bob/nope".to_owned(), None),
    ];
    let ask = |token: &str| -> Vec<u16> {
        let rest = Rest::new(world.server.url(), token);
        let one = |(method, path, body): &(&str, String, Option<Value>)| {
            rest.send(method.parse().unwrap(), path, body.as_ref().map(Value::to_string)).status
        };
        routes.iter().map(one).collect()
    };
    // The owner of the workspace, with both scopes; what is not there is 404.
    assert_eq!(ask(&bob.token), [200, 200, 200, 200, 200, 404, 404, 404]);
    assert_eq!(ask(&weak_bob.token), [200, 200, 200, 200, 403, 403, 403, 403]);
    // Another member sees nothing.
    assert_eq!(ask(&strong_dave.token), [200, 404, 404, 404, 200, 404, 404, 404]);
    assert_eq!(ask(&dave.token), [200, 404, 404, 404, 403, 403, 403, 403]);
    // An auditor sees states, an administrator also deletes.
    assert_eq!(ask(&strong_carol.token), [200, 200, 200, 200, 200, 404, 404, 404]);
    assert_eq!(ask(&carol.token), [200, 200, 200, 200, 403, 403, 403, 403]);
    assert_eq!(ask(&alice.token), [200, 200, 200, 200, 200, 404, 404, 404]);
    assert_eq!(ask(&world.alice.token), [200, 200, 200, 200, 403, 403, 403, 404]);
    for nobody in ["", agent_token.as_str()] {
        assert_eq!(ask(nobody), [401; 8], "{nobody}");
    }
    let others = Rest::new(world.server.url(), &dave.token).get("/workspaces?q=owner:bob").json;
    assert_eq!(others["count"], 0);
    let _ = world.alice.coder(["workspace", "list", "--all"]).run().success().says("bob/dev");
    let _ = world.alice.coder(["workspace", "delete", "bob/dev", "--yes"]).run().success();
}
