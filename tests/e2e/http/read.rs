use serde_json::json;

use super::*;

#[test]
fn get_user_secrets() {
    let world = Api::new();
    assert_eq!(world.get(SECRETS).is(200).body, json!([]));
    for name in ["b", "a", "B", "a.b_c d"] {
        world.create(json!({ "name": name, "value": "v" })).is(201);
    }
    assert_eq!(world.alice.names(), ["B", "a", "a.b_c d", "b"]);
    assert!(!world.get(SECRETS).body.to_string().contains("value"));
}

#[test]
fn get_user_secret() {
    let world = Api::new();
    world.create(json!({ "name": "a b", "value": "v" })).is(201);
    assert_eq!(world.get(&format!("{SECRETS}/a%20b")).is(200).body["name"], "a b");
    let missing = world.get(&format!("{SECRETS}/missing")).is(404);
    assert_eq!(missing.message(), "Resource not found or you do not have access to this resource");
    world.get(&format!("{SECRETS}/%ff")).is(404);
}

#[test]
fn delete_user_secret() {
    let world = Api::new();
    world.create(json!({ "name": "a", "value": "v", "env_name": "A" })).is(201);
    assert_eq!(world.delete("a").is(204).length, 0);
    world.get(&format!("{SECRETS}/a")).is(404);
    world.delete("a").is(404);
    world.create(json!({ "name": "a", "value": "v", "env_name": "A" })).is(201);
}

/// Ours: the reference answers 500 to the list of another user.
#[test]
fn another_users_secrets_are_not_found() {
    let world = Api::new();
    let body = json!({ "name": "a", "value": "v" });
    world.call(&world.bob, Method::POST, SECRETS, Some(body)).is(201);
    let other = "/users/bob/secrets";
    world.get(other).is(404);
    world.get(&format!("{other}/a")).is(404);
    world.call(&world.alice, Method::DELETE, &format!("{other}/a"), None).is(404);
    world.call(&world.alice, Method::PATCH, &format!("{other}/a"), Some(json!({ "value": "x" }))).is(403);
    let import = json!({ "format": "env", "content": "A=1" });
    world.call(&world.alice, Method::POST, &format!("{other}/batch"), Some(import)).is(403);
    world.call(&world.bob, Method::GET, &format!("{SECRETS}/a"), None).is(200);
}

#[test]
fn a_user_is_me_a_name_in_any_case_and_an_id() {
    let world = Api::new();
    let me = world.get("/users/me").is(200).body;
    assert_eq!(me["username"], "alice");
    for user in ["alice", "ALICE", me["id"].as_str().unwrap()] {
        assert_eq!(world.get(&format!("/users/{user}")).is(200).body, me);
        world.get(&format!("/users/{user}/secrets")).is(200);
    }
    world.get("/users/first").is(200);
    // The first user is an owner, who may look at others.
    world.get("/users/bob").is(200);
    world.call(&world.bob, Method::GET, "/users/alice", None).is(404);
}
