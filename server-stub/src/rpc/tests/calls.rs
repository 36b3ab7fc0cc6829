//! Each call.

use super::*;

type Done = WorkspaceAgentScriptCompletedResponse;

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

#[tokio::test]
async fn the_manifest_is_delivered_and_the_delivery_audited() {
    let (world, session, client) = world().await;
    put_secret(&world.state.store, world.agent.owner_id, "token", "TOKEN", "", true).await;
    let manifest: Manifest = client.call(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    assert_eq!(manifest.secrets[0].value, b"value of token");
    assert_eq!((manifest.directory.as_str(), manifest.scripts.len(), manifest.metadata.len()), ("~/project", 1, 1));
    assert_eq!(manifest.environment_variables["API"], "$HOSTNAME/api");
    world.state.sessions.close();
    drop(session);
    timeout(PATIENCE, world.state.sessions.wait()).await.unwrap();
    let audit = world.state.store.audit().newest(10).await.unwrap();
    let delivery = audit.iter().find(|entry| entry.action == "deliver").unwrap();
    assert_eq!((delivery.actor_kind.as_str(), delivery.actor_name.as_str()), ("agent", "alice/dev/main"));
    assert_eq!((delivery.target.as_str(), delivery.address.as_str()), ("alice", "127.0.0.1"));
    assert_eq!(delivery.diff["delivered"], 1);
    assert!(!serde_json::to_string(&audit).unwrap().contains("value of"));
}

#[tokio::test]
async fn nothing_is_delivered_while_the_audit_log_cannot_be_written() {
    let (world, _session, client) = world().await;
    let store = &world.state.store;
    put_secret(store, world.agent.owner_id, "token", "TOKEN", "", true).await;
    execute(store, "ALTER TABLE audit RENAME TO mislaid").await;
    let refusal = async {
        // The first delivery only finds out.
        while client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.is_ok() {}
    };
    timeout(PATIENCE, refusal).await.unwrap();
    let status = refused::<_, Manifest>(&client, path::GET_MANIFEST, &GetManifestRequest {}).await;
    // Why is the administrator's business, and in the log.
    assert_eq!(status.message, "internal error; the log of the server says why");
    execute(store, "ALTER TABLE mislaid RENAME TO audit").await;
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_value_that_does_not_decrypt_is_told_and_the_others_arrive() {
    let (world, _session, client) = world().await;
    let store = &world.state.store;
    for name in ["good", "spoilt"] {
        put_secret(store, world.agent.owner_id, name, &name.to_uppercase(), "", true).await;
    }
    execute(
        store,
        "UPDATE user_secrets SET value = (SELECT value FROM user_secrets WHERE name = 'good') WHERE name = 'spoilt'",
    )
    .await;
    let manifest: Manifest = client.call(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    assert_eq!(manifest.secrets.iter().map(|secret| secret.env_name.as_str()).collect::<Vec<_>>(), ["GOOD"]);
    let log = store.logs().lines(world.agent.id, 0).await.unwrap();
    assert!(log[0].output.starts_with("secret spoilt was not delivered"), "{log:?}");
    let audit = store.audit().newest(10).await.unwrap();
    assert!(audit.iter().any(|entry| entry.status == 500 && entry.diff["left_out"] == "secret spoilt"));
}

#[tokio::test]
async fn startup_is_echoed_and_kept() {
    let (world, _session, client) = world().await;
    let startup = Startup {
        version: "v2.4.0-rc.1+5f".into(),
        expanded_directory: "/home/alice/project".into(),
        subsystems: vec![startup::Subsystem::Exectrace.into(), startup::Subsystem::Envbox.into()],
    };
    let request = UpdateStartupRequest { startup: Some(startup.clone()) };
    let echo: Startup = client.call(path::UPDATE_STARTUP, &request).await.unwrap();
    assert_eq!(echo, startup);
    let agent = shown(&world).await;
    assert_eq!((agent.version.as_str(), agent.expanded_directory.as_str()), ("v2.4.0-rc.1+5f", "/home/alice/project"));
    assert_eq!(agent.subsystems, ["envbox", "exectrace"]);
    for (version, subsystems) in [("2.4.0", vec![]), ("v2.4.0", vec![0]), ("v2.4.0", vec![99])] {
        let startup = Some(Startup { version: version.into(), subsystems, ..Startup::default() });
        refused::<_, Startup>(&client, path::UPDATE_STARTUP, &UpdateStartupRequest { startup }).await;
    }
}

#[tokio::test]
async fn lifecycle_states_are_echoed_and_kept_in_order() {
    let (world, _session, client) = world().await;
    for (state, second) in [(lifecycle::State::Starting, 10), (lifecycle::State::Ready, 20)] {
        let lifecycle = Lifecycle { state: state.into(), changed_at: Some(at(second)) };
        let request = UpdateLifecycleRequest { lifecycle: Some(lifecycle) };
        assert_eq!(client.call::<_, Lifecycle>(path::UPDATE_LIFECYCLE, &request).await.unwrap(), lifecycle);
    }
    let history = world.state.store.agents().lifecycle(world.agent.id).await.unwrap();
    let states: Vec<_> = history.iter().map(|(state, at)| (*state, at.as_second())).collect();
    assert_eq!(states, [(lifecycle::State::Starting, 10), (lifecycle::State::Ready, 20)]);
    let unspecified = UpdateLifecycleRequest { lifecycle: Some(Lifecycle::default()) };
    refused::<_, Lifecycle>(&client, path::UPDATE_LIFECYCLE, &unspecified).await;
}

#[tokio::test]
async fn log_lines_are_kept_until_the_limit() {
    let (world, _session, client) = world().await;
    let source = world.state.store.agents().scripts(world.agent.id).await.unwrap()[0].log_source_id;
    let line =
        |output: &str, level: log::Level| Log { created_at: Some(at(1)), output: output.into(), level: level.into() };
    let send = async |source: &[u8], logs: Vec<Log>| {
        let request = BatchCreateLogsRequest { log_source_id: source.to_vec(), logs };
        client.call::<_, BatchCreateLogsResponse>(path::BATCH_CREATE_LOGS, &request).await
    };
    let lines = vec![line("one", log::Level::Error), line("two", log::Level::Unspecified)];
    assert!(!send(source.as_bytes(), lines).await.unwrap().log_limit_exceeded);
    assert!(!send(&[0; 16], vec![line("three", log::Level::Info)]).await.unwrap().log_limit_exceeded);
    let kept = world.state.store.logs().lines(world.agent.id, 0).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|line| (line.output.as_str(), line.level)).collect();
    assert_eq!(kept, [("one", 5), ("two", 3), ("three", 3)]);
    assert!(send(Uuid::new_v4().as_bytes(), vec![line("x", log::Level::Info)]).await.is_err());
    assert!(send(b"short", vec![]).await.is_err());
    let large = "x".repeat(1 << 20);
    assert!(send(source.as_bytes(), vec![line(&large, log::Level::Info)]).await.unwrap().log_limit_exceeded);
}

#[tokio::test]
async fn script_results_and_metadata_are_kept() {
    let (world, _session, client) = world().await;
    let store = &world.state.store;
    let script = store.agents().scripts(world.agent.id).await.unwrap()[0].id;
    let timing = |start, end| WorkspaceAgentScriptCompletedRequest {
        timing: Some(Timing {
            script_id: script.as_bytes().to_vec(),
            start: Some(at(start)),
            end: Some(at(end)),
            exit_code: 3,
            stage: timing::Stage::Start.into(),
            status: timing::Status::ExitFailure.into(),
        }),
    };
    client.call::<_, Done>(path::SCRIPT_COMPLETED, &timing(1, 2)).await.unwrap();
    refused::<_, Done>(&client, path::SCRIPT_COMPLETED, &timing(2, 1)).await;
    assert_eq!(store.agents().scripts(world.agent.id).await.unwrap()[0].last.unwrap().exit_code, 3);

    let result = |key: &str, value: String| Metadata {
        key: key.into(),
        result: Some(workspace_agent_metadata::Result { value, ..Default::default() }),
    };
    let report = |metadata| BatchUpdateMetadataRequest { metadata };
    let long = format!("  {}é  ", "x".repeat(2047));
    let request = report(vec![result("disk", long)]);
    client.call::<_, BatchUpdateMetadataResponse>(path::BATCH_UPDATE_METADATA, &request).await.unwrap();
    assert_eq!(store.agents().metadata(world.agent.id).await.unwrap()[0].value, "x".repeat(2047));
    let request = report(vec![result(&"k".repeat(6145), String::new())]);
    refused::<_, BatchUpdateMetadataResponse>(&client, path::BATCH_UPDATE_METADATA, &request).await;
}

#[tokio::test]
async fn connections_of_users_are_audited() {
    let (world, _session, client) = world().await;
    let connection = |id: Vec<u8>, kind: i32| ReportConnectionRequest {
        connection: Some(Connection {
            id,
            action: connection::Action::Connect.into(),
            r#type: kind,
            timestamp: Some(at(1)),
            ip: "192.0.2.7".into(),
            ..Connection::default()
        }),
    };
    let ssh = connection::Type::Ssh.into();
    client.call::<_, Empty>(path::REPORT_CONNECTION, &connection(vec![7; 16], ssh)).await.unwrap();
    let audit = world.state.store.audit().newest(10).await.unwrap();
    let entry = audit.iter().find(|entry| entry.resource == "workspace_session").unwrap();
    assert_eq!((entry.action.as_str(), entry.diff["ip"].as_str()), ("connect", Some("192.0.2.7")));
    for bad in [connection(vec![0; 16], ssh), connection(vec![7; 15], ssh), connection(vec![7; 16], 0)] {
        refused::<_, Empty>(&client, path::REPORT_CONNECTION, &bad).await;
    }
}

#[tokio::test]
async fn settings_that_a_go_agent_needs_are_answered() {
    let (_world, _session, client) = world().await;
    let stats: UpdateStatsResponse = client.call(path::UPDATE_STATS, &UpdateStatsRequest::default()).await.unwrap();
    assert_eq!(stats.report_interval, Some(prost_types::Duration { seconds: 300, nanos: 0 }));
    let banners: GetAnnouncementBannersResponse =
        client.call(path::GET_ANNOUNCEMENT_BANNERS, &GetAnnouncementBannersRequest {}).await.unwrap();
    assert!(banners.announcement_banners.is_empty());
    let banner: BannerConfig = client.call(path::GET_SERVICE_BANNER, &GetServiceBannerRequest {}).await.unwrap();
    assert!(!banner.enabled);
    let monitoring: GetResourcesMonitoringConfigurationResponse = client
        .call(path::GET_RESOURCES_MONITORING_CONFIGURATION, &GetResourcesMonitoringConfigurationRequest {})
        .await
        .unwrap();
    assert_eq!(monitoring.config.unwrap().num_datapoints, 20);
}

#[tokio::test]
async fn absent_messages_and_unknown_calls_are_errors_of_one_call() {
    let (_world, _session, client) = world().await;
    refused::<_, Startup>(&client, path::UPDATE_STARTUP, &UpdateStartupRequest::default()).await;
    refused::<_, Lifecycle>(&client, path::UPDATE_LIFECYCLE, &UpdateLifecycleRequest::default()).await;
    let timing = WorkspaceAgentScriptCompletedRequest::default();
    refused::<_, Empty>(&client, path::SCRIPT_COMPLETED, &timing).await;
    let metadata = BatchUpdateMetadataRequest { metadata: vec![Metadata { key: "disk".into(), result: None }] };
    refused::<_, Empty>(&client, path::BATCH_UPDATE_METADATA, &metadata).await;
    refused::<_, Empty>(&client, path::REPORT_CONNECTION, &ReportConnectionRequest::default()).await;
    for path in ["/coder.agent.v2.Agent/Nope", "/coder.agent.v2.Nope/GetManifest", ""] {
        assert!(refused::<_, Empty>(&client, path, &Empty {}).await.is_unimplemented(), "{path}");
    }
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
}
