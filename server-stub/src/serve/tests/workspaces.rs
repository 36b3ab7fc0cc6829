//! Workspaces and agents: only their owner sees them, and an agent posts with its own token.

use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Answer, World};
use crate::store::testing;

const DEFINITION: &str = "owner: alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { TOKEN: canary }
  scripts:
    - { display_name: Install, script: make, run_on_start: true, timeout: 300 }
";

/// The token of the agent of alice's workspace.
async fn apply(world: &World) -> String {
    testing::token(&testing::apply(&world.state.store, DEFINITION, false).await).unwrap()
}

async fn bob_gets(world: &World, path: &str) -> Answer {
    world.call(&world.bob, Method::GET, path, None).await
}

#[tokio::test]
async fn an_owner_sees_a_workspace_and_others_see_nothing() {
    let world = World::new().await;
    apply(&world).await;
    let workspace = world.get("/api/v2/users/me/workspace/dev").await.is(200).body;
    let agent = &workspace["latest_build"]["resources"][0]["agents"][0];
    assert_eq!((workspace["owner_name"].as_str(), workspace["name"].as_str()), (Some("alice"), Some("dev")));
    assert_eq!((agent["status"].as_str(), agent["lifecycle_state"].as_str()), (Some("connecting"), Some("created")));
    assert_eq!(agent["scripts"][0]["timeout"], 300_000_000_000_i64);
    assert_eq!(agent["log_sources"][0]["display_name"], "Install");
    assert!(!workspace.to_string().contains("canary"));

    let paths = [
        "/api/v2/users/alice/workspace/dev".to_owned(),
        format!("/api/v2/workspaces/{}", workspace["id"].as_str().unwrap()),
        format!("/api/v2/workspaceagents/{}", agent["id"].as_str().unwrap()),
        format!("/api/v2/workspaceagents/{}/logs?after=0", agent["id"].as_str().unwrap()),
    ];
    for path in &paths {
        world.get(path).await.is(200);
        bob_gets(&world, path).await.is(404);
    }
    assert_eq!(world.get("/api/v2/workspaces").await.is(200).body["count"], 1);
    assert_eq!(bob_gets(&world, "/api/v2/workspaces").await.is(200).body["count"], 0);
    for missing in ["/api/v2/users/me/workspace/nope", "/api/v2/workspaces/nope", "/api/v2/workspaceagents/nope"] {
        world.get(missing).await.is(404);
    }
    world.get(&format!("/api/v2/workspaces/{}", Uuid::new_v4())).await.is(404);
    world.get(&paths[3].replace("after=0", "after=x")).await.is(400);
}

#[tokio::test]
async fn a_log_source_is_posted_once_and_takes_lines() {
    let world = World::new().await;
    let token = apply(&world).await;
    let id = Uuid::new_v4();
    let path = "/api/v2/workspaceagents/me/log-source";
    let post = async |token: &str, body| world.call(token, Method::POST, path, Some(body)).await;
    let source = json!({ "id": id, "display_name": "Coder Agent", "icon": "" });
    let first = post(&token, source.clone()).await.is(201).body;
    assert_eq!(first, post(&token, source.clone()).await.is(201).body);
    assert_eq!(first["id"], json!(id));
    post(&world.alice, source.clone()).await.is(401);
    post(&token, json!({ "id": Uuid::nil(), "display_name": "x" })).await.is(400);
    post(&token, json!({ "id": id, "display_name": "x".repeat(257) })).await.is(400);

    let append = async |source: Uuid, output: &str, level: &str| {
        let line = json!({ "created_at": "2026-01-02T03:04:05Z", "output": output, "level": level });
        let body = json!({ "log_source_id": source, "logs": [line] });
        world.call(&token, Method::PATCH, "/api/v2/workspaceagents/me/logs", Some(body)).await
    };
    append(id, "wrote ~/.netrc", "warn").await.is(200);
    append(id, "x", "loud").await.is(400);
    append(Uuid::new_v4(), "x", "info").await.is(400);
    append(id, &"x".repeat(1 << 20), "info").await.is(413);
    let agent = first["workspace_agent_id"].as_str().unwrap();
    let lines = world.get(&format!("/api/v2/workspaceagents/{agent}/logs")).await.is(200).body;
    assert_eq!(lines[0]["output"], "wrote ~/.netrc");
    assert_eq!((lines[0]["level"].as_str(), lines[0]["source_id"].as_str()), (Some("warn"), first["id"].as_str()));
    let after = lines[0]["id"].as_i64().unwrap();
    let none = world.get(&format!("/api/v2/workspaceagents/{agent}/logs?after={after}")).await.is(200).body;
    assert_eq!(none, json!([]));
}

#[tokio::test]
async fn there_is_nothing_to_wait_for_in_a_workspace_that_was_not_prebuilt() {
    let world = World::new().await;
    let token = apply(&world).await;
    let path = "/api/v2/workspaceagents/me/reinit?wait=true";
    let answer = world.call(&token, Method::GET, path, None).await.is(409);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
    world.call("", Method::GET, path, None).await.is(401);
}
