//! Dials, and how a session lives and ends.

use super::*;

/// Query, headers, status, and a word of the body.
type Refusal<'a> = (&'a str, &'a [(&'static str, &'a str)], u16, &'a str);

#[tokio::test]
async fn both_places_of_a_token_and_nothing_that_was_not_asked_for() {
    let world = World::new(routes()).await;
    let cookie = format!("coder_session_token={}", world.token);
    let offers = ("Sec-WebSocket-Protocol", "coder");
    let extension = ("Sec-WebSocket-Extensions", "permessage-deflate");
    for headers in [[("Cookie", cookie.as_str()), extension], [("Coder-Session-Token", &world.token), extension]] {
        let (_, response) = world.handshake("?role=agent&version=2.10", &headers).await.unwrap();
        assert_eq!(response.status(), 101);
        assert!(response.headers().get("sec-websocket-extensions").is_none());
    }
    // The client library refuses an answer without the protocol it offered, which is the point here.
    let error = world.handshake("", &[("Coder-Session-Token", &world.token), offers]).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}

#[tokio::test]
async fn dials_that_are_refused() {
    let world = World::new(routes()).await;
    let good = world.token.clone();
    let unknown = Uuid::new_v4().to_string();
    let cases: [Refusal<'_>; 6] = [
        ("", &[], 401, "token"),
        ("", &[("Coder-Session-Token", "no uuid")], 401, "token"),
        ("", &[("Coder-Session-Token", &unknown)], 401, "token"),
        ("?version=3.0", &[("Coder-Session-Token", &good)], 400, "server is at version 2.10"),
        ("?version=x", &[("Coder-Session-Token", &good)], 400, "invalid version string: x"),
        ("", &[("Coder-Session-Token", &good), ("Origin", "http://evil.example")], 403, "origin"),
    ];
    for (query, headers, status, word) in cases {
        let Err(Error::Http(response)) = world.handshake(query, headers).await else { panic!("{query} accepted") };
        assert_eq!(response.status(), status, "{query}");
        let body = String::from_utf8(response.into_body().unwrap_or_default()).unwrap();
        assert!(body.contains(word), "{body}");
    }
}

#[tokio::test]
async fn the_tailnet_streams_stay_open_until_goodbye() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_world, session, _client) = world().await;
    let invoke = |path: &str, request: &[u8]| {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let head = [&[0x03, 1, 1, length(path.as_bytes())], path.as_bytes()].concat();
        [head, [&[0x05, 1, 2, length(request)], request].concat()].concat()
    };
    let mut maps = session.opener().open().await.unwrap();
    maps.write_all(&[invoke(path::STREAM_DERP_MAPS, &[]), vec![0x0d, 1, 3, 0]].concat()).await.unwrap();
    let mut coordinate = session.opener().open().await.unwrap();
    coordinate.write_all(&invoke(path::COORDINATE, &[0x0a, 0])).await.unwrap();

    let mut map = [0; 6];
    timeout(PATIENCE, maps.read_exact(&mut map)).await.unwrap().unwrap();
    assert_eq!(map, [0x05, 1, 1, 2, 0x0a, 0], "one map with home_params");
    coordinate.write_all(&[0x05, 1, 3, 2, 0x12, 0]).await.unwrap();
    let mut goodbye = [0; 4];
    timeout(PATIENCE, coordinate.read_exact(&mut goodbye)).await.unwrap().unwrap();
    assert_eq!(goodbye, [0x0d, 1, 1, 0], "CloseSend after Disconnect, and nothing before it");
    let more = tokio::time::timeout(Duration::from_millis(50), maps.read(&mut map)).await;
    assert!(more.is_err(), "the stream of maps must stay open");
}

#[tokio::test]
async fn only_an_agent_makes_its_workspace_connected() {
    let world = World::new(routes()).await;
    let streamer = world.dial("?role=logstream-kube").await;
    let client = Client::new(streamer.opener());
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    assert_eq!(shown(&world).await.connection(), Seen::Connecting);

    let agent = world.dial("?role=agent&version=2.4").await;
    until(&world, "connected", |agent| agent.connection() == Seen::Connected).await;
    assert_eq!(shown(&world).await.api_version, "2.4");
    // A second session of the same agent, as after a lost network: the end of the first must not show as the end of the agent.
    let again = world.dial("?role=agent&version=2.4").await;
    let client = Client::new(again.opener());
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    agent.close().await;
    let monitor = &world.state.fleet;
    timeout(PATIENCE, async {
        while monitor.sessions_open() > 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(shown(&world).await.connection(), Seen::Connected);
    again.close().await;
    until(&world, "disconnected", |agent| agent.connection() == Seen::Disconnected).await;
}

#[tokio::test]
async fn a_revoked_token_ends_the_session() {
    let (world, session, client) = world().await;
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    world.state.fleet.check_tokens(&world.state.store).await.unwrap();
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    until(&world, "connected", |agent| agent.connection() == Seen::Connected).await;
    apply(&world.state, true).await.unwrap();
    // Even before the session ends, no secret goes to the old token.
    refused::<_, Manifest>(&client, path::GET_MANIFEST, &GetManifestRequest {}).await;
    world.state.fleet.check_tokens(&world.state.store).await.unwrap();
    timeout(PATIENCE, session.closed()).await.unwrap();
    until(&world, "disconnected", |agent| agent.connection() == Seen::Disconnected).await;
}

#[tokio::test]
async fn a_stop_of_the_server_ends_sessions_and_writes_it_down() {
    let (world, session, client) = world().await;
    client.call::<_, Manifest>(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap();
    until(&world, "connected", |agent| agent.connection() == Seen::Connected).await;
    world.state.shutdown.cancel();
    world.state.sessions.close();
    timeout(PATIENCE, world.state.sessions.wait()).await.unwrap();
    timeout(PATIENCE, session.closed()).await.unwrap();
    assert_eq!(shown(&world).await.connection(), Seen::Disconnected);
}
