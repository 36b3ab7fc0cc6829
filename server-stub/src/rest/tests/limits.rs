use serde_json::json;

use super::*;

fn sized(name: &str, bytes: usize, env_name: &str) -> Value {
    json!({ "name": name, "value": "x".repeat(bytes), "env_name": env_name })
}

#[tokio::test]
async fn user_secret_limits_count() {
    let world = World::new().await;
    for n in 0..50 {
        // Disabled ones count as well.
        world.create(json!({ "name": n.to_string(), "value": "v", "enabled": n % 2 == 0 })).await.is(201);
    }
    let refused = world.create(sized("51st", 1, "")).await.is(400);
    assert_eq!(refused.message(), "User secrets limit reached.");
    assert_eq!(refused.body["detail"], "Each user can have at most 50 secrets.");
    assert!(refused.faults().is_empty());
    world.patch("7", json!({ "value": "other" })).await.is(200);
    world.call(&world.bob, Method::POST, SECRETS, Some(sized("mine", 1, ""))).await.is(201);
    world.delete("7").await.is(204);
    world.create(sized("51st", 1, "")).await.is(201);
}

#[tokio::test]
async fn user_secret_limits_total_bytes() {
    let world = World::new().await;
    // Eight of the largest and one of 8192 bytes are 204,800 exactly.
    for n in 0..8 {
        world.create(sized(&n.to_string(), 24_576, "")).await.is(201);
    }
    world.create(sized("rest", 8_191, "")).await.is(201);
    let refused = world.create(sized("over", 2, "")).await.is(400);
    assert_eq!(refused.message(), "User secrets value-bytes limit reached.");
    assert!(refused.body["detail"].as_str().unwrap().contains("204800"));
    world.patch("rest", json!({ "value": "x".repeat(8_192) })).await.is(200);
    world.patch("rest", json!({ "description": "at the cap" })).await.is(200);
    world.patch("rest", json!({ "value": "x".repeat(8_193) })).await.is(400);
}

#[tokio::test]
async fn user_secret_limits_env_bytes() {
    let world = World::new().await;
    world.create(sized("a", 24_000, "A")).await.is(201);
    let refused = world.create(sized("b", 577, "B")).await.is(400);
    assert_eq!(refused.message(), "Environment-injected user secrets bytes limit reached.");
    assert!(refused.body["detail"].as_str().unwrap().contains("env_name"));
    world.create(json!({ "name": "b", "value": "x".repeat(577), "file_path": "~/b" })).await.is(201);
    world.patch("b", json!({ "env_name": "B" })).await.is(400);
    world.patch("b", json!({ "env_name": "B", "value": "x".repeat(576) })).await.is(200);
    world.patch("a", json!({ "description": "at the cap" })).await.is(200);
}

/// The cap holds when many try at once.
#[tokio::test]
async fn user_secret_limits_hold_under_concurrency() {
    let world = World::new().await;
    let bodies = (0..120).map(|n| sized(&n.to_string(), 1, ""));
    let made = futures_util::future::join_all(bodies.map(|body| world.create(body))).await;
    assert_eq!(made.iter().filter(|answer| answer.status == StatusCode::CREATED).count(), 50);
    assert_eq!(world.names().await.len(), 50);
}
