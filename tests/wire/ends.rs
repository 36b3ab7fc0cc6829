//! How a session ends, and how it is told that the peer is gone.

use std::time::Duration;

use futures_util::StreamExt;
use protocol::drpc::CallError;
use protocol::session::{Message, Options, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::go::Go;
use crate::support::{Blob, client_on, pipe, soon, until};

#[tokio::test]
async fn a_session_is_closed_with_1000_after_all_that_was_written() {
    let (ours, theirs) = pipe();
    let (session, _) = client_on(ours);
    let go = Go::start(theirs, false);
    let mut stream = soon(session.opener().open()).await.unwrap();
    soon(stream.write_all(&vec![1; 100_000])).await.unwrap();
    soon(session.close()).await;
    assert_eq!(go.close_code(), Some(1000));
    let sent: usize = go.seen().iter().map(|frame| frame.body.len()).sum();
    assert_eq!(sent, 100_000);
    // The stream learns of it as well.
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn dropping_a_session_closes_it() {
    let (ours, theirs) = pipe();
    let go = Go::start(theirs, false);
    let (session, client) = client_on(ours);
    drop(session);
    until(|| go.close_code() == Some(1000)).await;
    assert!(matches!(client.call::<Blob, Blob>("/", &Blob::default()).await, Err(CallError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    for (role, pings, dead) in [(Role::Agent, 1, 40), (Role::Server, 1, 30)] {
        let (ours, mut theirs) = pipe();
        let start = tokio::time::Instant::now();
        let session = Session::start(ours, role, Options::new(role));
        let listening = tokio::spawn(async move {
            let mut count = 0;
            while let Some(Ok(message)) = theirs.next().await {
                count += usize::from(matches!(message, Message::Ping(_)));
                if matches!(message, Message::Close(_)) {
                    break;
                }
            }
            count
        });
        session.closed().await;
        assert_eq!(start.elapsed().as_secs(), dead, "{role:?}");
        drop(session);
        assert_eq!(listening.await.unwrap(), pings, "{role:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_only_answers_pings_is_alive() {
    let (ours, theirs) = pipe();
    let (session, _) = client_on(ours);
    let go = Go::start(theirs, false);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(session.last_seen().elapsed() <= Duration::from_secs(30));
    go.assert_content();
}
