use std::collections::HashSet;

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use protocol::rest::PostLogSourceRequest;
use tempfile::TempDir;
use uuid::Uuid;

use super::super::Store;
use super::super::audit::Actor;
use super::super::testing::{self, World, apply, checked, execute, put_secret, token};
use super::*;

const DEFINITION: &str = r"owner: Alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { TOKEN: canary-template }
  scripts:
    - { display_name: Install, script: make, run_on_start: true }
    - { display_name: Stop, script: make stop, run_on_stop: true }
  metadata:
    - { key: disk, script: df, interval: 60 }
env:
  - { name: PATH, value: /opt/bin, merge_strategy: prepend }
";

async fn world() -> (TempDir, Store, AgentIdentity) {
    let World { dir, store, .. } = World::new().await;
    let token = token(&apply(&store, DEFINITION, false).await).unwrap();
    let agent = store.agents().by_token(&token).await.unwrap().unwrap();
    (dir, store, agent)
}

fn line(output: &str) -> NewLine {
    NewLine { created_at: Timestamp::UNIX_EPOCH, level: 3, output: output.into() }
}

async fn shown(store: &Store, agent: &AgentIdentity) -> Agent {
    store.workspaces().find(agent.workspace_id).await.unwrap().unwrap().agents.remove(0)
}

#[tokio::test]
async fn the_first_apply_gives_a_token_that_names_the_agent() {
    let (_dir, store, agent) = world().await;
    assert_eq!(agent.path(), "alice/dev/main");
    assert_eq!(shown(&store, &agent).await.connection(), Connection::Connecting);
    for wrong in ["", "token", &Uuid::new_v4().to_string()] {
        assert_eq!(store.agents().by_token(wrong).await.unwrap(), None, "{wrong}");
    }
}

#[tokio::test]
async fn applying_again_keeps_every_id_and_the_token_until_it_is_rotated() {
    let (_dir, store, agent) = world().await;
    let scripts = store.agents().scripts(agent.id).await.unwrap();
    let again = apply(&store, &DEFINITION.replace("script: make,", "script: make all,"), false).await;
    assert!(!again[0].created && again[0].agents[0].token.is_none());
    let changed = store.agents().scripts(agent.id).await.unwrap();
    assert_eq!(changed[0].script, "make all");
    let ids = |scripts: &[Script]| scripts.iter().map(|script| (script.id, script.log_source_id)).collect::<Vec<_>>();
    assert_eq!(ids(&changed), ids(&scripts));

    let rotated = token(&apply(&store, DEFINITION, true).await).unwrap();
    let renewed = store.agents().by_token(&rotated).await.unwrap().unwrap();
    assert_eq!(renewed.id, agent.id);
    assert_ne!(renewed.token_hash, agent.token_hash);
    let shown = [agent.token_hash, renewed.token_hash];
    assert_eq!(store.agents().lost_tokens(&shown).await.unwrap(), HashSet::from([agent.token_hash]));
    assert!(store.agents().manifest_sources(&agent).await.unwrap().is_none(), "the old token gets no secrets");
}

#[tokio::test]
async fn what_a_definition_drops_is_gone_and_a_failing_one_changes_nothing() {
    let (_dir, store, agent) = world().await;
    let other = "owner: alice\nname: dev\nagent: { name: other }\n";
    let bad = format!("{other}---\nowner: nobody\nname: dev\nagent: {{ name: main }}\n");
    let error = store.workspaces().apply(checked(&bad), false).await.unwrap_err();
    assert!(matches!(&error, ApplyError::UnknownOwner { owner, index: 1 } if owner == "nobody"), "{error}");
    assert_eq!(shown(&store, &agent).await.name, "main");

    let applied = apply(&store, other, false).await;
    assert_eq!(applied[0].removed, ["main"]);
    assert_eq!(store.agents().lost_tokens(&[agent.token_hash]).await.unwrap(), HashSet::from([agent.token_hash]));
    assert!(store.workspaces().delete(Actor::Administrator, agent.workspace_id, "alice/dev".into()).await.unwrap());
    assert!(!store.workspaces().delete(Actor::Administrator, agent.workspace_id, "alice/dev".into()).await.unwrap());
    assert!(store.workspaces().list().await.unwrap().is_empty());
}

#[tokio::test]
async fn more_definitions_than_fit_into_one_transaction() {
    let (_dir, store, _agent) = world().await;
    let many = |owner_of_last: &str| -> String {
        let one = |n: usize| {
            let owner = if n == 450 { owner_of_last } else { "alice" };
            format!("---\nowner: {owner}\nname: w{n}\nagent: {{ name: main }}\n")
        };
        (0..=450).map(one).collect::<Vec<_>>().concat()
    };
    let error = store.workspaces().apply(checked(&many("nobody")), false).await.unwrap_err();
    assert!(matches!(error, ApplyError::UnknownOwner { index: 450, .. }), "{error}");
    assert_eq!(store.workspaces().list().await.unwrap().len(), 1, "nothing is written before all owners are known");
    assert_eq!(apply(&store, &many("alice"), false).await.len(), 451);
    assert_eq!(store.workspaces().list().await.unwrap().len(), 452);
}

#[tokio::test]
async fn template_values_are_encrypted_and_bound_to_their_row() {
    let (dir, store, agent) = world().await;
    let sources = store.agents().manifest_sources(&agent).await.unwrap().unwrap();
    let env: Vec<_> = sources.env.iter().map(|it| (it.name.as_str(), it.value.as_ref().unwrap().expose())).collect();
    assert_eq!(env, [("PATH", b"/opt/bin:$PATH".as_slice()), ("TOKEN", b"canary-template")]);
    for file in ["coder.db", "coder.db-wal"].iter().filter(|_| !testing::is_postgres(&dir)) {
        let bytes = std::fs::read(dir.path().join(file)).unwrap();
        assert!(!bytes.windows(15).any(|window| window == b"canary-template"), "{file}");
    }
    // What someone who can write the file but has no key might do.
    execute(
        &store,
        "UPDATE agent_env SET value = (SELECT value FROM agent_env WHERE name = 'PATH') WHERE name = 'TOKEN'",
    )
    .await;
    let sources = store.agents().manifest_sources(&agent).await.unwrap().unwrap();
    assert!(sources.env[0].value.is_ok());
    assert!(sources.env[1].value.is_err(), "a value put into another row must not open");
}

#[tokio::test]
async fn only_enabled_secrets_with_a_target_are_delivered_in_the_order_of_their_names() {
    let (_dir, store, agent) = world().await;
    for (name, env_name, file_path, enabled) in [
        ("z", "Z", "", true),
        ("b", "", "~/b", true),
        ("a", "A", "/a", true),
        ("off", "OFF", "", false),
        ("n", "", "", true),
    ] {
        put_secret(&store, agent.owner_id, name, env_name, file_path, enabled).await;
    }
    let sources = store.agents().manifest_sources(&agent).await.unwrap().unwrap();
    let delivered: Vec<_> = sources
        .secrets
        .iter()
        .map(|secret| (secret.name.as_str(), secret.env_name.as_str(), secret.value.as_ref().unwrap().expose()))
        .collect();
    assert_eq!(delivered, [("a", "A", b"value of a".as_slice()), ("b", "", b"value of b"), ("z", "Z", b"value of z")]);
}

#[tokio::test]
async fn log_lines_need_a_source_and_stop_at_the_limit() {
    let (_dir, store, agent) = world().await;
    let source = store.agents().scripts(agent.id).await.unwrap()[0].log_source_id;
    assert!(!store.logs().append(agent.id, source, vec![line("one"), line("t\0wo")]).await.unwrap());
    let unknown = Uuid::new_v4();
    let refused = store.logs().append(agent.id, unknown, vec![line("x")]).await.unwrap_err();
    assert!(matches!(refused, LogError::UnknownSource(id) if id == unknown));
    assert!(!store.logs().append(agent.id, Uuid::nil(), vec![line("three")]).await.unwrap());
    let lines = store.logs().lines(agent.id, 0).await.unwrap();
    let texts: Vec<_> = lines.iter().map(|line| (line.source_id, line.output.as_str())).collect();
    assert_eq!(texts, [(source, "one"), (source, "t\u{fffd}wo"), (EXTERNAL_SOURCE, "three")]);
    assert_eq!(store.logs().lines(agent.id, lines[1].id).await.unwrap().len(), 1);

    let half = "x".repeat(usize::try_from(MAX_LOG_BYTES / 2).unwrap());
    assert!(!store.logs().append(agent.id, source, vec![line(&half)]).await.unwrap());
    assert!(store.logs().append(agent.id, source, vec![line(&half)]).await.unwrap());
    assert!(store.logs().append(agent.id, source, vec![line("small")]).await.unwrap(), "full stays full");
    assert!(shown(&store, &agent).await.logs_overflowed);

    store.reports().lifecycle(agent.id, State::Starting, Timestamp::now()).await.unwrap();
    let kept = shown(&store, &agent).await;
    assert!(!kept.logs_overflowed && kept.logs_bytes <= MAX_LOG_BYTES / 2, "a new boot has room: {}", kept.logs_bytes);
    assert!(!store.logs().append(agent.id, source, vec![line("small")]).await.unwrap());
}

#[tokio::test]
async fn a_posted_source_is_made_once() {
    let (_dir, store, agent) = world().await;
    let request = PostLogSourceRequest { id: Uuid::new_v4(), display_name: "Files".into(), icon: String::new() };
    let first = store.logs().post_source(agent.id, request.clone()).await.unwrap();
    let second = store.logs().post_source(agent.id, request.clone()).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.id, request.id);
    for _ in 0..400 {
        let more = PostLogSourceRequest { id: Uuid::new_v4(), ..request.clone() };
        if let Err(error) = store.logs().post_source(agent.id, more).await {
            return assert!(matches!(error, LogError::TooManySources));
        }
    }
    panic!("sources are not bounded");
}

#[tokio::test]
async fn lifecycle_keeps_a_history_and_the_times_of_the_last_start() {
    let (_dir, store, agent) = world().await;
    let at = |second| Timestamp::from_second(second).unwrap();
    for (state, second) in [(State::Starting, 1), (State::Ready, 2), (State::ShuttingDown, 3), (State::Starting, 4)] {
        store.reports().lifecycle(agent.id, state, at(second)).await.unwrap();
    }
    let now = shown(&store, &agent).await;
    assert_eq!((now.lifecycle, now.started_at, now.ready_at), (State::Starting, Some(at(4)), None));
    store.reports().lifecycle(agent.id, State::StartError, at(5)).await.unwrap();
    assert_eq!(shown(&store, &agent).await.ready_at, Some(at(5)));
    for second in 0..120 {
        store.reports().lifecycle(agent.id, State::Ready, at(100 + second)).await.unwrap();
    }
    let history = store.agents().lifecycle(agent.id).await.unwrap();
    assert_eq!((history.len(), history.last().copied()), (100, Some((State::Ready, at(219)))));
}

#[tokio::test]
async fn script_results_belong_to_the_agents_own_scripts() {
    let (_dir, store, agent) = world().await;
    let script = store.agents().scripts(agent.id).await.unwrap()[0].id;
    let at = |second| Timestamp::from_second(second).unwrap();
    let timing = Timing { started_at: at(1), ended_at: at(2), exit_code: 7, stage: 0, status: 1 };
    let report = |script| TimingReport { script, timing };
    store.reports().timing(agent.id, report(script)).await.unwrap();
    let unknown = store.reports().timing(agent.id, report(Uuid::new_v4())).await.unwrap_err();
    assert!(matches!(unknown, ReportError::UnknownScript(_)));
    assert!(store.reports().timing(Uuid::new_v4(), report(script)).await.is_err(), "of another agent");
    let last = store.agents().scripts(agent.id).await.unwrap()[0].last.unwrap();
    assert_eq!((last.exit_code, last.ended_at), (7, at(2)));
}

#[tokio::test]
async fn metadata_of_known_keys_is_kept() {
    let (_dir, store, agent) = world().await;
    let report = |key: &str| MetadataReport { key: key.into(), value: "42%".into(), error: String::new() };
    store.reports().metadata(agent.id, vec![report("disk"), report("gone")]).await.unwrap();
    let items = store.agents().metadata(agent.id).await.unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].value.as_str(), items[0].display_name.as_str()), ("42%", "disk"));
    assert!(items[0].collected_at.is_some());
}

#[tokio::test]
async fn presence_follows_the_sessions() {
    let (_dir, store, agent) = world().await;
    store.presence().connected(agent.id, "2.4".into()).await.unwrap();
    let connected = shown(&store, &agent).await;
    assert_eq!((connected.connection(), connected.api_version.as_str()), (Connection::Connected, "2.4"));
    let first = connected.presence.unwrap();
    store.presence().seen(&[agent.id, Uuid::new_v4()]).await.unwrap();
    let seen = shown(&store, &agent).await.presence.unwrap();
    assert!(seen.last_connected_at > first.last_connected_at && seen.first_connected_at == first.first_connected_at);
    store.presence().disconnected(agent.id).await.unwrap();
    assert_eq!(shown(&store, &agent).await.connection(), Connection::Disconnected);
    store.presence().connected(agent.id, "2.4".into()).await.unwrap();
    assert_eq!(shown(&store, &agent).await.connection(), Connection::Connected);
    // An agent that is not there any more is no error: its session is about to be ended.
    store.presence().connected(Uuid::new_v4(), "2.4".into()).await.unwrap();
}
