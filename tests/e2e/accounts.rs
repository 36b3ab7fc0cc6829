//! Roles, suspension, and tokens with their scopes and lifetimes.

use serde_json::{Value, json};
use tests::{DEV, Env, Rest, SHORT, User, World, wait_until};

use crate::peers::client::Client;

/// Another token of a user, made with these flags of `coder-server token create`.
fn token(env: &Env, user: &str, flags: &[&str]) -> String {
    let made = env.admin(["token", "create", user, "--json"]).args(flags).reveals().run().success().json();
    let token = made["session_token"].as_str().unwrap().to_owned();
    env.watch("another session token", token.as_bytes());
    token
}

fn watched(env: &Env, text: &str) -> String {
    env.watch("a created token", text.trim().as_bytes());
    text.trim().to_owned()
}

fn statuses(rest: &Rest, calls: &[(&str, &str, Option<Value>)]) -> Vec<u16> {
    let send = |(method, path, body): &(&str, &str, Option<Value>)| {
        rest.send(method.parse().unwrap(), path, body.as_ref().map(Value::to_string)).status
    };
    calls.iter().map(send).collect()
}

#[test]
fn the_first_user_is_an_owner_who_manages_the_others() {
    let world = World::new();
    let (bob, carol) = (world.env.user("bob"), world.env.user("carol"));
    let _ = world.env.admin(["user", "role", "carol", "auditor"]).run().success().says("carol has the role auditor");
    let listed = world.env.admin(["user", "list", "--json"]).run().success().json();
    let roles: Vec<_> =
        listed.as_array().unwrap().iter().map(|user| (&user["username"], &user["roles"][0]["name"])).collect();
    assert_eq!(
        roles,
        [(&json!("alice"), &json!("owner")), (&json!("bob"), &Value::Null), (&json!("carol"), &json!("auditor"))]
    );
    let _ = world.env.admin(["user", "list"]).run().success().says("auditor").says("member").says("active");

    let calls = [
        ("GET", "/users", None),
        ("GET", "/users/carol", None),
        ("PUT", "/users/carol/roles", Some(json!({ "roles": [] }))),
        ("PUT", "/users/carol/roles", Some(json!({ "roles": ["king"] }))),
        ("PUT", "/users/carol/status/suspend", None),
        ("PUT", "/users/carol/status/activate", None),
        ("DELETE", "/users/nobody", None),
    ];
    assert_eq!(statuses(&bob.rest(), &calls), [403, 404, 403, 403, 403, 403, 403]);
    assert_eq!(statuses(&carol.rest(), &calls[..2]), [200, 200]);
    assert_eq!(statuses(&carol.rest(), &calls[2..]), [403, 403, 403, 403, 403]);
    assert_eq!(statuses(&world.alice.rest(), &calls), [200, 200, 200, 400, 200, 200, 404]);
    // Nobody locks everybody out.
    let own = [("PUT", "/users/me/status/suspend", None), ("DELETE", "/users/alice", None)];
    assert_eq!(statuses(&world.alice.rest(), &own), [400, 400]);
    let _ = world.env.admin(["user", "delete", "alice"]).run().exits(1).complains("the only active owner");
}

#[test]
fn a_suspended_user_and_their_agents_are_refused_until_activated() {
    let world = World::new();
    let bob = world.env.user("bob");
    let workspace = world.env.workspace(&DEV.replace("alice", "bob"));
    let created = bob.rest().post("/users/me/keys", &json!({})).expect(201).json;
    let session = watched(&world.env, created["key"].as_str().unwrap());
    let agent = Client::dial(&world.server, workspace.token());
    let _ = world.env.admin(["user", "suspend", "BOB"]).run().success().says("Suspended bob.");
    let refused = bob.rest().get("/users/me").expect(401);
    assert!(refused.text.contains("suspended"), "{}", refused.text);
    let _ = agent.ending();
    let dial = |token: &str| Client::try_dial(&world.server, "", &[("Coder-Session-Token", token)]).map(drop);
    assert_eq!(dial(workspace.token()).unwrap_err().status, 401);
    let _ = bob.coder(["secret", "list"]).run().exits(1).complains("Your account is suspended.");

    let status = world.alice.rest().send("PUT".parse().unwrap(), "/users/bob/status/activate", None).expect(200).json;
    assert_eq!(status["status"], "active");
    let _ = bob.rest().get("/users/me").expect(200);
    assert!(dial(workspace.token()).is_ok());
    // A sign-in ends for good.
    let _ = Rest::new(world.server.url(), &session).get("/users/me").expect(401);
}

#[test]
fn a_deleted_user_leaves_audit_records_alone() {
    let world = World::new();
    let bob = world.env.user("bob");
    bob.secret("api-key", &["--env", "API_KEY"]);
    world.env.workspace(&DEV.replace("alice", "bob"));
    let refused = world.alice.rest().delete("/users/bob").expect(417);
    assert!(refused.text.contains("workspaces"), "{}", refused.text);
    let _ = world.env.admin(["user", "delete", "bob"]).run().exits(1).complains("bob has 1 workspaces");
    let _ = world.env.admin(["user", "delete", "bob", "--with-workspaces"]).run().success().says("Deleted bob.");
    let _ = bob.rest().get("/users/me").expect(401);
    let _ = world.env.admin(["workspace", "show", "bob/dev"]).run().exits(1);
    let records = world.env.admin(["audit", "--user", "bob", "--since", "1h", "--json"]).run().success().json();
    let records: Vec<_> = records.as_array().unwrap().iter().map(|it| (&it["action"], &it["resource"])).collect();
    assert!(records.contains(&(&json!("create"), &json!("user_secret"))), "{records:?}");
    assert!(records.contains(&(&json!("delete"), &json!("user"))), "{records:?}");
    // Somebody else of that name begins with nothing.
    assert_eq!(world.env.user("bob").names(), Vec::<String>::new());
}

#[test]
fn audit_is_filtered_by_user_and_time() {
    let world = World::new();
    let bob = world.env.user("bob");
    bob.secret("of-bob", &["--env", "B"]);
    world.alice.secret("of-alice", &["--env", "A"]);
    let targets = |flags: &[&str]| {
        let records = world.env.admin(["audit", "--json"]).args(flags).run().success().json();
        let targets = records.as_array().unwrap().iter().map(|it| it["target"].as_str().unwrap().to_owned());
        targets.collect::<Vec<_>>()
    };
    let of_bob = targets(&["--user", "Bob"]);
    assert!(of_bob.contains(&"of-bob".to_owned()) && of_bob.contains(&"bob".to_owned()), "{of_bob:?}");
    assert!(!of_bob.contains(&"of-alice".to_owned()), "{of_bob:?}");
    assert_eq!(targets(&["--since", "2999-01-01"]), Vec::<String>::new());
    assert!(targets(&["--since", "1h"]).contains(&"of-alice".to_owned()));
    let _ = world.env.admin(["audit", "--since", "yesterday"]).run().exits(2).complains("--since");
}

#[test]
fn a_token_ends_with_its_lifetime() {
    let world = World::new();
    let short = token(&world.env, "alice", &["--lifetime", "1s"]);
    let rest = Rest::new(world.server.url(), &short);
    wait_until("the end of the token", SHORT, || rest.get("/users/me").status == 401);
    let forever = token(&world.env, "alice", &["--lifetime", "never"]);
    let _ = Rest::new(world.server.url(), &forever).get("/users/me").expect(200);
    let _ = world.env.admin(["token", "create", "alice", "--lifetime", "0"]).run().exits(2).complains("--lifetime");
    let _ = world.env.admin(["token", "list"]).run().success().says("never").says("EXPIRES");
    let _ = world.env.admin(["token", "revoke", "--user", "alice"]).run().success().says("Revoked 3 tokens of alice.");
    let _ = world.alice.rest().get("/users/me").expect(401);
}

/// What Coder's `coder login` and `coder tokens create, list, remove` send.
#[test]
fn the_token_routes_of_coder() {
    let world = World::with_server(["--max-token-lifetime", "7d"]);
    let (rest, bob) = (world.alice.rest(), world.env.user("bob"));
    let session = rest.send("POST".parse().unwrap(), "/users/me/keys", None).expect(201).json;
    let session = watched(&world.env, session["key"].as_str().unwrap());
    let _ = Rest::new(world.server.url(), &session).get("/users/me").expect(200);

    let day = 86_400_000_000_000_i64;
    let config = rest.get("/users/me/keys/tokens/tokenconfig").expect(200).json;
    assert_eq!(config["max_token_lifetime"], 7 * day);
    let body = json!({ "lifetime": day, "scope": "all", "token_name": "ci" });
    let made = rest.post("/users/me/keys/tokens", &body).expect(201).json;
    let made = watched(&world.env, made["key"].as_str().unwrap());
    let _ = rest.post("/users/me/keys/tokens", &body).expect(409);
    let unnamed = rest.post("/users/me/keys/tokens", &json!({ "lifetime": 0, "scope": "all", "token_name": "" }));
    watched(&world.env, unnamed.expect(201).json["key"].as_str().unwrap());
    for (wrong, field) in [
        (json!({ "lifetime": 8 * day }), "lifetime"),
        (json!({ "lifetime": -1 }), "lifetime"),
        (json!({ "scope": "application_connect" }), "scope"),
    ] {
        let faults = rest.post("/users/me/keys/tokens", &wrong).expect(400).validations();
        assert!(faults[0].starts_with(field), "{faults:?}");
    }
    // Nobody makes tokens for others; others see none.
    let _ = bob.rest().post("/users/alice/keys/tokens", &body).expect(403);
    let _ = rest.post("/users/bob/keys/tokens", &body).expect(403);
    let _ = bob.rest().get("/users/alice/keys/tokens").expect(404);
    let _ = bob.rest().get("/users/alice/keys/tokens/ci").expect(404);

    let listed = rest.get("/users/me/keys/tokens?include_all=false&include_expired=false").expect(200).json;
    let ci = listed.as_array().unwrap().iter().find(|key| key["token_name"] == "ci").unwrap();
    assert_eq!(
        (&ci["scope"], &ci["login_type"], &ci["lifetime_seconds"]),
        (&json!("secrets"), &json!("token"), &json!(86_400))
    );
    let id = made.split('-').next().unwrap();
    assert_eq!(ci["id"], id);
    assert_eq!(rest.get("/users/me/keys/tokens/ci").expect(200).json["id"], id);
    // By the whole token, which must get into no log.
    let _ = rest.get(&format!("/users/me/keys/tokens/{made}")).expect(404);
    assert_eq!(rest.get(&format!("/users/me/keys/{made}")).expect(200).json["id"], id);
    let _ = bob.rest().delete(&format!("/users/me/keys/{id}")).expect(404);
    let _ = rest.send("PUT".parse().unwrap(), &format!("/users/me/keys/{id}/expire"), None).expect(204);
    let _ = Rest::new(world.server.url(), &made).get("/users/me").expect(401);
    let names = |query: &str| {
        let listed = rest.get(&format!("/users/me/keys/tokens?include_expired={query}")).expect(200).json;
        listed.as_array().unwrap().iter().filter(|key| key["token_name"] == "ci").count()
    };
    assert_eq!((names("false"), names("true")), (0, 1));
    let _ = rest.delete(&format!("/users/me/keys/{id}")).expect(204);
    let _ = rest.delete(&format!("/users/me/keys/{id}")).expect(404);
}

#[test]
fn tokens_from_the_command_line() {
    let world = World::new();
    let made = world.alice.coder(["tokens", "create", "--name", "ci", "--lifetime", "7d"]).reveals().run().success();
    let made = watched(&world.env, &made.stdout);
    let _ = Rest::new(world.server.url(), &made).get("/users/me").expect(200);
    let _ = world.alice.coder(["tokens", "list"]).run().success().says("ci").says("secrets").says("never");
    let _ =
        world.alice.coder(["tokens", "create", "--scope", "workspaces"]).run().exits(1).complains("--scope workspaces");
    let _ = world.alice.coder(["tokens", "create", "--lifetime", "soon"]).run().exits(2).complains("7d");
    let _ = world.alice.coder(["tokens", "remove", "nope"]).run().exits(1).complains("coder tokens list");
    let _ = world.alice.coder(["tokens", "remove", "ci"]).run().success().says("Revoked token ci.");
    let _ = Rest::new(world.server.url(), &made).get("/users/me").expect(401);
}

#[test]
fn a_sign_in_keeps_what_was_asked_for_and_logout_revokes_it() {
    let world = World::new();
    let strong = token(&world.env, "alice", &["--scope", "workspaces"]);
    let session = world.env.home().join(".config/coderv2/session");
    let kept = || watched(&world.env, &std::fs::read_to_string(&session).unwrap());
    let login =
        |flags: &[&str], token: &str| world.env.coder(["login", world.server.url()]).args(flags).stdin(token).run();
    let scope = |token: &str| {
        let id = token.split('-').next().unwrap();
        let shown = Rest::new(world.server.url(), token).get(&format!("/users/me/keys/{id}")).expect(200).json;
        shown["scope"].as_str().unwrap().to_owned()
    };
    // The usual sign-in leaves no token on the disk that gets at values.
    let _ = login(&[], &strong).success().complains("keeps one that may only manage secrets");
    assert_ne!(kept(), strong);
    assert_eq!(scope(&kept()), "secrets");
    let _ = login(&["--scope", "workspaces"], &strong).success();
    assert_eq!((kept(), scope(&kept())), (strong.clone(), "workspaces".into()));
    let _ = login(&["--scope", "workspaces"], &world.alice.token).exits(1).complains("may only manage secrets");
    assert_eq!(kept(), strong, "a sign-in that is refused changes nothing");
    let _ = world.env.coder(["logout"]).run().success();
    let _ = Rest::new(world.server.url(), &strong).get("/users/me").expect(401);
    let _ = world.alice.rest().get("/users/me").expect(200);
    // Without the server it is forgotten all the same.
    let _ = login(&[], &world.alice.token).success();
    let User { token, .. } = &world.alice;
    std::fs::write(world.env.home().join(".config/coderv2/url"), "http://127.0.0.1:1").unwrap();
    let _ = world.env.coder(["logout"]).run().success().says("You are no longer signed in.").complains("still valid");
    assert!(!session.exists());
    let _ = Rest::new(world.server.url(), token).get("/users/me").expect(200);
}
