//! Two handles on one database behave as two processes: two servers, or a server and a command.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use protocol::rest::{CreateUserSecretRequest, UpdateUserSecretRequest};
use protocol::rules::MAX_SECRETS;
use tempfile::TempDir;
use uuid::Uuid;

use super::audit::Actor;
use super::testing::{self, World};
use super::workspaces::{AgentIdentity, Connection};
use super::{Change, ChangeStream, Generation, KeepVersions, SecretError, Store, Targets};

struct Several {
    dir: TempDir,
    stores: [Store; 2],
    user: Uuid,
}

async fn several() -> Several {
    let World { dir, store, user, .. } = World::new().await;
    let other = testing::reopen(&dir).await;
    Several { dir, stores: [store, other], user }
}

impl Several {
    async fn create(&self, store: usize, name: &str, env_name: &str) -> Result<(), SecretError> {
        let request = CreateUserSecretRequest {
            name: name.into(),
            env_name: env_name.into(),
            value: "v".to_owned().into(),
            ..CreateUserSecretRequest::default()
        };
        let secrets = self.stores[store].secrets();
        secrets.create(Actor::Administrator, self.user, request, &Arc::default()).await.map(drop)
    }

    async fn update(&self, store: usize, name: &str, request: UpdateUserSecretRequest) {
        let secrets = self.stores[store].secrets();
        secrets.update(Actor::Administrator, self.user, name, request, &Arc::default(), KeepVersions(5)).await.unwrap();
    }

    async fn apply(&self, store: usize, definition: &str) -> Option<AgentIdentity> {
        let token = testing::token(&testing::apply(&self.stores[store], definition, false).await)?;
        self.stores[store].agents().by_token(&token).await.unwrap()
    }

    async fn generation(&self, agent: &AgentIdentity) -> Generation {
        self.stores[1].agents().current(&[agent.id]).await.unwrap()[&agent.id].generation
    }
}

/// The next change that is not a mere request to compare, or the request if nothing else can be told.
async fn heard(changes: &mut ChangeStream, expected: Change) -> Change {
    loop {
        let change = tokio::time::timeout(Duration::from_secs(20), changes.next()).await.unwrap().unwrap();
        if change == expected || change == Change::Any {
            return change;
        }
    }
}

const DEFINITION: &str = "owner: alice\nname: dev\nagent: { name: main, dir: ~/a, env: { A: b } }\n";

#[tokio::test]
async fn the_cap_holds_under_writers_at_both() {
    let world = several().await;
    for n in 0..MAX_SECRETS - 5 {
        world.create(0, &format!("s{n}"), "").await.unwrap();
    }
    let made = join_all((0..32).map(|n| {
        let world = &world;
        async move { world.create(n % 2, &format!("more{n}"), "").await }
    }))
    .await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 5);
    assert!(made.iter().filter(|made| made.is_err()).all(|made| matches!(made, Err(SecretError::Cap(_)))));
    assert_eq!(world.stores[0].secrets().list(world.user).await.unwrap().len(), MAX_SECRETS);
}

#[tokio::test]
async fn no_conflict_is_missed_under_writers_at_both() {
    let world = several().await;
    let made = join_all((0..16).map(|n| {
        let world = &world;
        async move { world.create(n % 2, &format!("s{n}"), "SAME").await }
    }))
    .await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let conflicts = made.iter().filter(|made| matches!(made, Err(SecretError::Conflict { .. })));
    assert_eq!(conflicts.count(), 15);
}

#[tokio::test]
async fn a_generation_grows_with_what_changes_a_manifest_and_with_nothing_else() {
    let world = several().await;
    let agent = world.apply(0, DEFINITION).await.unwrap();
    let mut last = world.generation(&agent).await;
    assert!(last.epoch > 0);
    let mut grew = async || {
        let now = world.generation(&agent).await;
        assert_eq!(now.epoch, last.epoch);
        std::mem::replace(&mut last, now).number < now.number
    };
    let value = |value: &str| UpdateUserSecretRequest { value: Some(value.to_owned().into()), ..Default::default() };
    world.create(0, "stored", "").await.unwrap();
    assert!(!grew().await, "not injected");
    world.create(0, "token", "TOKEN").await.unwrap();
    assert!(grew().await);
    world.update(0, "token", value("v")).await;
    assert!(!grew().await, "the same value");
    let described = UpdateUserSecretRequest { description: Some("d".into()), ..Default::default() };
    world.update(0, "token", described).await;
    assert!(!grew().await, "a description");
    world.update(0, "token", value("w")).await;
    assert!(grew().await);
    assert!(world.apply(0, DEFINITION).await.is_none());
    assert!(!grew().await, "the same definition");
    for (from, to) in [
        ("~/a", "~/b"),
        ("A: b", "A: c"),
        ("dir: ~/a,", "dir: ~/a, scripts: [{ display_name: s, script: x, run_on_start: true }],"),
    ] {
        world.apply(0, &DEFINITION.replace(from, to)).await;
        assert!(grew().await, "{to}");
    }
    world.stores[0].secrets().record_policy(&Targets::default().without_files()).await.unwrap();
    assert!(grew().await);
    world.stores[0].secrets().record_policy(&Targets::default().without_files()).await.unwrap();
    assert!(!grew().await);
    world.stores[0].secrets().delete(Actor::Administrator, world.user, "token").await.unwrap();
    assert!(grew().await);
}

#[tokio::test]
async fn a_change_is_heard_here_and_there() {
    let world = several().await;
    let agent = world.apply(0, DEFINITION).await.unwrap();
    let (mut here, mut there) = (world.stores[0].changes(), world.stores[1].changes());
    // What the other handle hears at its start, and what it heard of.
    let before = world.generation(&agent).await;
    world.create(0, "token", "TOKEN").await.unwrap();
    let expected = Change::Owner(world.user);
    while heard(&mut here, expected).await != expected {}
    loop {
        heard(&mut there, expected).await;
        if world.generation(&agent).await != before {
            break;
        }
    }
}

#[tokio::test]
async fn an_operation_that_fails_tells_of_no_change() {
    let world = several().await;
    let mut changes = world.stores[0].changes();
    world.create(0, "one", "SAME").await.unwrap();
    world.create(0, "two", "SAME").await.unwrap_err();
    let bob = testing::user(&world.stores[0], "bob").await;
    testing::put_secret(&world.stores[0], bob, "last", "LAST", "", true).await;
    let mut told = Vec::new();
    while told.last() != Some(&Change::Owner(bob)) {
        told.extend(Some(changes.next().await.unwrap()).filter(|change| *change != Change::Any));
    }
    assert_eq!(told, [Change::Owner(world.user), Change::Owner(bob)]);
}

#[tokio::test]
async fn a_server_knows_of_others_on_postgresql() {
    let world = several().await;
    let [one, two] = &world.stores;
    one.servers().beat("1").await.unwrap();
    assert!(!one.servers().others().await.unwrap());
    two.servers().beat("1").await.unwrap();
    // A SQLite file has one server at a time: another lease is of one that was killed.
    assert_eq!(one.servers().others().await.unwrap(), testing::is_postgres(&world.dir));
    two.servers().leave().await.unwrap();
    assert!(!one.servers().others().await.unwrap());
}

#[tokio::test]
async fn an_agent_that_moved_is_not_disconnected_by_the_server_it_left() {
    let world = several().await;
    let agent = world.apply(0, DEFINITION).await.unwrap();
    let [one, two] = &world.stores;
    let connection = async || {
        let workspace = one.workspaces().find(agent.workspace_id).await.unwrap().unwrap();
        workspace.agents[0].connection()
    };
    one.presence().connected(agent.id, "2.4".into()).await.unwrap();
    two.presence().connected(agent.id, "2.4".into()).await.unwrap();
    one.presence().disconnected(agent.id).await.unwrap();
    assert_eq!(connection().await, Connection::Connected);
    two.presence().disconnected(agent.id).await.unwrap();
    assert_eq!(connection().await, Connection::Disconnected);
}
