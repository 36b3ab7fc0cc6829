use serde_json::json;

use super::*;

#[tokio::test]
async fn get_user_secrets() {
    let world = World::new().await;
    assert_eq!(world.get(SECRETS).await.is(200).body, json!([]));
    for name in ["b", "a", "B", "a.b_c d"] {
        world.create(json!({ "name": name, "value": "v" })).await.is(201);
    }
    assert_eq!(world.names().await, ["B", "a", "a.b_c d", "b"]);
    assert!(!world.get(SECRETS).await.body.to_string().contains("value"));
}

#[tokio::test]
async fn get_user_secret() {
    let world = World::new().await;
    world.create(json!({ "name": "a b", "value": "v" })).await.is(201);
    assert_eq!(world.get(&format!("{SECRETS}/a%20b")).await.is(200).body["name"], "a b");
    let missing = world.get(&format!("{SECRETS}/missing")).await.is(404);
    assert_eq!(missing.message(), "Resource not found or you do not have access to this resource");
    world.get(&format!("{SECRETS}/%ff")).await.is(404);
}

#[tokio::test]
async fn delete_user_secret() {
    let world = World::new().await;
    world.create(json!({ "name": "a", "value": "v", "env_name": "A" })).await.is(201);
    assert_eq!(world.delete("a").await.is(204).length, 0);
    world.get(&format!("{SECRETS}/a")).await.is(404);
    world.delete("a").await.is(404);
    world.create(json!({ "name": "a", "value": "v", "env_name": "A" })).await.is(201);
}

/// Ours: the reference answers 500 to the list of another user.
#[tokio::test]
async fn another_users_secrets_are_not_found() {
    let world = World::new().await;
    let body = json!({ "name": "a", "value": "v" });
    world.call(&world.bob, Method::POST, SECRETS, Some(body)).await.is(201);
    let other = "/api/v2/users/bob/secrets";
    world.get(other).await.is(404);
    world.get(&format!("{other}/a")).await.is(404);
    world.call(&world.alice, Method::DELETE, &format!("{other}/a"), None).await.is(404);
    world.call(&world.alice, Method::PATCH, &format!("{other}/a"), Some(json!({ "value": "x" }))).await.is(403);
    let import = json!({ "format": "env", "content": "A=1" });
    world.call(&world.alice, Method::POST, &format!("{other}/batch"), Some(import)).await.is(403);
    world.call(&world.bob, Method::GET, &format!("{SECRETS}/a"), None).await.is(200);
}

#[tokio::test]
async fn a_user_is_me_a_name_in_any_case_and_an_id() {
    let world = World::new().await;
    let me = world.get("/api/v2/users/me").await.is(200).body;
    assert_eq!(me["username"], "alice");
    for user in ["alice", "ALICE", me["id"].as_str().unwrap()] {
        assert_eq!(world.get(&format!("/api/v2/users/{user}")).await.is(200).body, me);
        world.get(&format!("/api/v2/users/{user}/secrets")).await.is(200);
    }
    world.get("/api/v2/users/bob").await.is(404);
    world.get("/api/v2/users/first").await.is(200);
}
