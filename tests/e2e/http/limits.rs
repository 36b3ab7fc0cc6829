use serde_json::json;

use super::*;

fn sized(name: &str, bytes: usize, env_name: &str) -> Value {
    json!({ "name": name, "value": "x".repeat(bytes), "env_name": env_name })
}

#[test]
fn user_secret_limits_count() {
    let world = Api::new();
    for n in 0..50 {
        // Disabled ones count as well.
        world.create(json!({ "name": n.to_string(), "value": "v", "enabled": n % 2 == 0 })).is(201);
    }
    let refused = world.create(sized("51st", 1, "")).is(400);
    assert_eq!(refused.message(), "User secrets limit reached.");
    assert_eq!(refused.body["detail"], "Each user can have at most 50 secrets.");
    assert!(refused.faults().is_empty());
    world.patch("7", json!({ "value": "other" })).is(200);
    world.call(&world.bob, Method::POST, SECRETS, Some(sized("mine", 1, ""))).is(201);
    world.delete("7").is(204);
    world.create(sized("51st", 1, "")).is(201);
}

#[test]
fn user_secret_limits_total_bytes() {
    let world = Api::new();
    // Eight of the largest and one of 8192 bytes are 204,800 exactly.
    for n in 0..8 {
        world.create(sized(&n.to_string(), 24_576, "")).is(201);
    }
    world.create(sized("rest", 8_191, "")).is(201);
    let refused = world.create(sized("over", 2, "")).is(400);
    assert_eq!(refused.message(), "User secrets value-bytes limit reached.");
    assert!(refused.body["detail"].as_str().unwrap().contains("204800"));
    world.patch("rest", json!({ "value": "x".repeat(8_192) })).is(200);
    world.patch("rest", json!({ "description": "at the cap" })).is(200);
    world.patch("rest", json!({ "value": "x".repeat(8_193) })).is(400);
}

#[test]
fn user_secret_limits_env_bytes() {
    let world = Api::new();
    world.create(sized("a", 24_000, "A")).is(201);
    let refused = world.create(sized("b", 577, "B")).is(400);
    assert_eq!(refused.message(), "Environment-injected user secrets bytes limit reached.");
    assert!(refused.body["detail"].as_str().unwrap().contains("env_name"));
    world.create(json!({ "name": "b", "value": "x".repeat(577), "file_path": "~/b" })).is(201);
    world.patch("b", json!({ "env_name": "B" })).is(400);
    world.patch("b", json!({ "env_name": "B", "value": "x".repeat(576) })).is(200);
    world.patch("a", json!({ "description": "at the cap" })).is(200);
}

/// The cap holds when many try at once.
#[test]
fn user_secret_limits_hold_under_concurrency() {
    let world = Api::new();
    let bodies = (0..120).map(|n| sized(&n.to_string(), 1, ""));
    let made: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = bodies.map(|body| scope.spawn(|| world.create(body).status)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|status| **status == 201).count(), 50);
    assert_eq!(world.alice.names().len(), 50);
}
