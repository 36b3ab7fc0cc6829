//! Who hears of changes, by which way.

use protocol::drpc::Streaming;
use protocol::live::{Generation, WATCH, WatchRequest, WatchResponse};

use super::*;

async fn live_world() -> World {
    let world = World::new(routes()).await;
    let (live, store) = (world.state.live.clone(), world.state.store.clone());
    tokio::spawn(async move { live.keep(store).await });
    world
}

async fn watch(client: &Client) -> Streaming<WatchResponse> {
    client.stream(WATCH, &WatchRequest { delivered: None }).await.unwrap()
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Generation {
    let told = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
    assert!(!told.revoked);
    told.generation.unwrap()
}

async fn manifest(client: &Client) -> Manifest {
    client.call(path::GET_MANIFEST, &GetManifestRequest {}).await.unwrap()
}

#[tokio::test]
async fn a_watch_tells_the_generation_of_the_manifest_and_then_each_new_one() {
    let world = live_world().await;
    let session = world.dial("?role=agent&live=1").await;
    let client = Client::new(session.opener());
    let mut watching = watch(&client).await;
    let first = next(&mut watching).await;
    assert_eq!(manifest(&client).await.generation, Some(first));
    put_secret(&world.state.store, world.agent.owner_id, "token", "TOKEN", "", true).await;
    let second = next(&mut watching).await;
    assert_eq!((second.epoch, second.number > first.number), (first.epoch, true));
    assert_eq!(manifest(&client).await.generation, Some(second));
    // Stored and given to nobody.
    put_secret(&world.state.store, world.agent.owner_id, "other", "", "", true).await;
    assert!(timeout(Duration::from_millis(300), watching.next()).await.is_err());
}

#[tokio::test]
async fn a_session_watches_once_at_a_time() {
    let world = live_world().await;
    let session = world.dial("?role=agent&live=1").await;
    let client = Client::new(session.opener());
    let mut one = watch(&client).await;
    next(&mut one).await;
    let mut two = watch(&client).await;
    match timeout(PATIENCE, two.next()).await.unwrap() {
        Err(CallError::Refused(status)) => assert_eq!(status.message, "this session watches already"),
        other => panic!("{other:?}"),
    }
    drop(one);
    let again = async {
        loop {
            if watch(&client).await.next().await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn an_agent_without_live_delivery_has_to_dial_again_after_a_change() {
    let world = live_world().await;
    let (deaf, streamer) = (world.dial("?role=agent").await, world.dial("?role=logstream-kube").await);
    let live = world.dial("?role=agent&live=1").await;
    for session in [&deaf, &streamer, &live] {
        manifest(&Client::new(session.opener())).await;
    }
    put_secret(&world.state.store, world.agent.owner_id, "token", "TOKEN", "", true).await;
    timeout(PATIENCE, deaf.closed()).await.unwrap();
    for session in [&streamer, &live] {
        manifest(&Client::new(session.opener())).await;
    }
}

#[tokio::test]
async fn what_an_agent_has_fetched_already_ends_no_session() {
    let world = live_world().await;
    let session = world.dial("?role=agent").await;
    let client = Client::new(session.opener());
    manifest(&client).await;
    put_secret(&world.state.store, world.agent.owner_id, "token", "TOKEN", "", true).await;
    manifest(&client).await;
    assert!(timeout(Duration::from_millis(1500), session.closed()).await.is_err());
}
