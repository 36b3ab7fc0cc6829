use super::*;
use crate::store::Algorithm;

const KEY: &str = "/api/v2/users/me/gitsshkey";

#[tokio::test]
async fn a_user_reads_and_replaces_the_public_part_only() {
    let world = World::new().await;
    let first = world.get(KEY).await;
    assert_eq!(first.status, StatusCode::OK);
    let fields: Vec<_> = first.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["created_at", "public_key", "updated_at", "user_id"]);
    assert!(first.body["public_key"].as_str().unwrap().starts_with("ssh-ed25519 "));
    assert_eq!(world.get("/api/v2/users/alice/gitsshkey").await.body, first.body);
    let second = world.call(&world.alice, Method::PUT, KEY, None).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(second.body["public_key"], first.body["public_key"]);
    assert_eq!(second.body["created_at"], first.body["created_at"]);
    assert_eq!(world.get(KEY).await.body, second.body);
}

#[tokio::test]
async fn nobody_gets_at_the_key_of_another() {
    let world = World::new().await;
    let path = "/api/v2/users/alice/gitsshkey";
    assert_eq!(world.call(&world.bob, Method::GET, path, None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.call(&world.bob, Method::PUT, path, None).await.status, StatusCode::FORBIDDEN);
    assert_eq!(world.call("", Method::GET, path, None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_private_part_is_for_agents() {
    let world = World::new().await;
    let path = "/api/v2/workspaceagents/me/gitsshkey";
    assert_eq!(world.get(path).await.status, StatusCode::UNAUTHORIZED, "a session token is no agent's");
}

#[tokio::test]
async fn the_algorithm_is_the_administrators_and_what_exists_stays() {
    let world = World::with(|settings| settings.git_keys = Algorithm::EcdsaP256).await;
    let kept = world.get(KEY).await;
    assert!(kept.body["public_key"].as_str().unwrap().starts_with("ssh-ed25519 "));
    let new = world.call(&world.alice, Method::PUT, KEY, None).await;
    assert!(new.body["public_key"].as_str().unwrap().starts_with("ecdsa-sha2-nistp256 "));
}
