//! One test, or more, for each trap of the wire that this package could fall into, by its number.
//!
//! The others belong to who speaks HTTP or fills the messages: 8 (`v` in `Startup.version`) and 9 (metadata durations) to
//! the agent, 10, 11 (sub-messages and enums that must be set) and 13 (cookie and header) to the server, 12 (the constant of
//! buildinfo) and 14 (`/reinit`) to nobody, for we do not ask; 15 (`TCP_NODELAY`) to both, where they make their sockets.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use protocol::drpc::CallError;
use protocol::session::{Message, Options, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::calls::{Failure, answer, call, request};
use crate::support::frames::{ACK, DATA, FIN, Frame, RST, SYN, WINDOW};
use crate::support::go::Go;
use crate::support::{Blob, client_on, echo, go_agent, go_server, pipe, soon, until};

fn of_stream(go: &Go, id: u32, flag: u16) -> usize {
    go.seen().iter().filter(|frame| frame.id == id && frame.kind <= WINDOW && frame.has(flag)).count()
}

#[tokio::test]
async fn trap_01_a_server_fins_once_and_only_after_the_client() {
    let (go, service) = go_agent();
    // Each call waits for the FIN of the server after its own, and the model objects to one that comes before it.
    assert_eq!(soon(call(go.open(), "/t/Echo", b"\x0a\x02hi")).await.unwrap(), b"\x0a\x02hi");
    let refused = soon(call(go.open(), "/t/Fail", b"")).await.unwrap_err();
    assert_eq!(refused, Failure::Remote(0, "boom".into()));

    let mut cancelled = go.open();
    cancelled.write_all(&request("/t/Silent", b"")).await.unwrap();
    until(|| service.silent.load(Ordering::SeqCst) == 1).await;
    cancelled.shutdown().await.unwrap();
    soon(cancelled.read_to_end(&mut Vec::new())).await.unwrap();
    until(|| service.silent.load(Ordering::SeqCst) == 0).await;

    drop(cancelled);
    until(|| go.open_streams() == 0).await;
    go.assert_content();
}

#[tokio::test(start_paused = true)]
async fn trap_01_a_client_that_never_fins_is_waited_for_30_s() {
    let (go, _) = go_agent();
    go.allow_early_fin();
    let mut stream = go.open();
    let start = tokio::time::Instant::now();
    stream.write_all(&request("/t/Echo", b"")).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 30);
    go.assert_content();
}

#[tokio::test]
async fn trap_02_a_client_keeps_its_half_open_until_it_has_the_answer() {
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    let calling = tokio::spawn(async move { client.call::<Blob, Blob>("/t/Echo", &Blob::of("hi")).await });
    let mut stream = soon(go.accept()).await.unwrap();
    let mut asked = vec![0; request("/t/Echo", b"\x0a\x02hi").len()];
    soon(stream.read_exact(&mut asked)).await.unwrap();
    assert_eq!(asked, request("/t/Echo", b"\x0a\x02hi"));
    // A round trip in which a FIN had the time to come.
    go.ping(7);
    until(|| go.pongs() == [7]).await;
    assert!(!stream.peer_has_finished());
    stream.write_all(&hex::decode("050101040a026f6b0d010200").unwrap()).await.unwrap();
    assert_eq!(soon(calling).await.unwrap().unwrap(), Blob::of("ok"));
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(hex::encode(rest), "0b010400", "Close, then FIN");
    drop(stream);
    go.assert_content();
}

#[tokio::test]
async fn trap_03_a_stream_that_is_dropped_loses_nothing_and_is_not_reset() {
    let (ours, theirs) = pipe();
    let (session, _client) = client_on(ours);
    let go = Go::start(theirs, false);
    let mut stream = soon(session.opener().open()).await.unwrap();
    // More than the queue of a stream holds, so that the FIN has to wait for its place.
    let written = vec![5; 250 * 1024];
    soon(stream.write_all(&written)).await.unwrap();
    drop(stream);
    let mut received = Vec::new();
    let mut theirs = soon(go.accept()).await.unwrap();
    soon(theirs.read_to_end(&mut received)).await.unwrap();
    assert!(received == written, "{} bytes came", received.len());
    assert_eq!((of_stream(&go, theirs.id, RST), of_stream(&go, theirs.id, FIN)), (0, 1));
    drop(theirs);
    go.assert_content();
}

#[tokio::test]
async fn trap_03_a_call_that_is_cancelled_is_ended_by_one_fin() {
    let (go, _session, client) = go_server();
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.call::<Blob, Blob>("/t/Silent", &Blob::default()).await }
    });
    until(|| of_stream(&go, 1, SYN) == 1).await;
    calling.abort();
    until(|| of_stream(&go, 1, FIN) == 1).await;
    echo(&client, &Blob::of("after")).await;
    assert_eq!((of_stream(&go, 1, FIN), of_stream(&go, 1, RST)), (1, 0));
    go.assert_content();
}

#[tokio::test]
async fn trap_04_shutting_down_again_sends_no_second_fin() {
    let (ours, theirs) = pipe();
    let (session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    let mut stream = soon(session.opener().open()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    for _ in 0..3 {
        soon(stream.shutdown()).await.unwrap();
    }
    drop(stream);
    let mut theirs = soon(go.accept()).await.unwrap();
    soon(theirs.read_to_end(&mut Vec::new())).await.unwrap();
    let accepting = go.clone();
    tokio::spawn(async move { answer(accepting.accept().await.unwrap()).await });
    echo(&client, &Blob::of("still here")).await;
    assert_eq!(of_stream(&go, theirs.id, FIN), 1);
    go.assert_content();
}

#[tokio::test]
async fn trap_05_a_stream_is_acknowledged_though_its_call_says_nothing() {
    let (go, service) = go_agent();
    let mut stream = go.open();
    stream.write_all(&request("/t/Silent", b"")).await.unwrap();
    until(|| service.silent.load(Ordering::SeqCst) == 1).await;
    until(|| of_stream(&go, stream.id, ACK) == 1).await;
    // And one on which not even a call has come.
    let silent = go.open();
    until(|| of_stream(&go, silent.id, ACK) == 1).await;
    let acks: Vec<Frame> = go.seen().into_iter().filter(|frame| frame.has(ACK)).collect();
    assert_eq!(acks, [Frame::new(DATA, ACK, 1, 0), Frame::new(DATA, ACK, 3, 0)]);
    go.assert_content();
}

#[tokio::test]
async fn trap_06_pings_are_answered_while_nobody_reads() {
    let (ours, theirs) = pipe();
    let session = Session::start(ours, Role::Server, Options::new(Role::Server));
    let go = Go::start(theirs, true);
    let mut full = go.open();
    soon(full.write_all(&vec![0; 256 * 1024])).await.unwrap();
    let mut many = go.open();
    for _ in 0..200 {
        many.write_all(b"tiny").await.unwrap();
    }
    for id in 0..20 {
        go.ping(id);
        until(|| go.pongs().contains(&id)).await;
    }
    go.assert_content();
    drop(session);
}

#[tokio::test]
async fn trap_07_each_stream_is_acknowledged_exactly_once() {
    let (go, _) = go_agent();
    let mut stream = go.open();
    let mut packets = crate::support::calls::Packets::default();
    stream.write_all(&hex::decode("030101072f742f43686174").unwrap()).await.unwrap();
    for message in 2..40 {
        let body = crate::support::calls::packet(message, storj_rpc::Kind::MESSAGE, b"\x0a\x01x");
        stream.write_all(&crate::support::calls::bytes_of(&[body])).await.unwrap();
        assert_eq!(soon(packets.next(&mut stream)).await.unwrap().unwrap().data, b"\x0a\x01x");
    }
    assert_eq!(of_stream(&go, stream.id, ACK), 1);
    go.assert_content();
}

#[tokio::test]
async fn trap_16_calls_in_flight_stay_below_the_peers_backlog() {
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    go.hold_acks();
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call::<Blob, Blob>("/t/Echo", &Blob::of("x")).await })
        })
        .collect();
    let opened = || go.seen().iter().filter(|frame| frame.has(SYN) && frame.id > 0).count();
    until(|| opened() == 64).await;
    // Those who wait go on as others end.
    let accepting = go.clone();
    tokio::spawn(async move {
        while let Some(stream) = accepting.accept().await {
            // The model counts a call until it has taken our FIN, which is a little longer than we do.
            assert!(accepting.open_streams() <= 128, "far more than 64 calls in flight");
            tokio::spawn(answer(stream));
        }
    });
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap(), Blob::of("x"));
    }
    go.assert_content();
}

#[tokio::test]
async fn trap_17_one_stream_too_many_is_reset_and_the_session_lives() {
    let (ours, theirs) = pipe();
    let options = Options { max_inbound_streams: 3, ..Options::new(Role::Server) };
    let mut session = Session::start(ours, Role::Server, options);
    let go = Go::start(theirs, true);
    let mut streams: Vec<_> = (0..4).map(|_| go.open()).collect();
    let mut accepted = Vec::new();
    for _ in 0..3 {
        accepted.push(soon(session.accept()).await.unwrap());
    }
    let error = soon(streams[3].read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // One goes, one may come.
    drop((accepted.pop(), streams.pop()));
    soon(streams[2].read_to_end(&mut Vec::new())).await.unwrap();
    let _another = go.open();
    soon(session.accept()).await.unwrap();
    assert!(!go.is_over());
}

#[tokio::test]
async fn trap_18_every_end_of_a_session_is_the_same_end() {
    for end in ["close 1000", "close 1001", "gone", "refused text", "nonsense", "GoAway"] {
        let (ours, mut theirs) = pipe();
        let (mut session, client) = client_on(ours);
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.call::<Blob, Blob>("/t/Echo", &Blob::default()).await }
        });
        // The ping of the crate, then the call.
        while !matches!(soon(theirs.next()).await, Some(Ok(Message::Binary(bytes))) if bytes.ends_with(&[0x0d, 1, 3, 0]))
        {
        }
        match end {
            "close 1000" => theirs.send(Message::Close(1000)).await.unwrap(),
            "close 1001" => theirs.send(Message::Close(1001)).await.unwrap(),
            "refused text" => theirs.send(Message::Text).await.unwrap(),
            "nonsense" => theirs.send(Message::Binary(Bytes::from_static(&[9; 12]))).await.unwrap(),
            "GoAway" => {
                let away = Frame::new(3, 0, 0, 0).bytes();
                theirs.send(Message::Binary(away.into())).await.unwrap();
            }
            _ => {}
        }
        if end == "refused text" {
            let code = loop {
                match soon(theirs.next()).await {
                    Some(Ok(Message::Close(code))) => break code,
                    Some(Ok(_)) => {}
                    _ => panic!("no close frame"),
                }
            };
            assert_eq!(code, 1003);
        }
        drop(theirs);
        assert!(matches!(soon(calling).await.unwrap(), Err(CallError::Closed)), "{end}");
        soon(session.closed()).await;
        assert!(soon(session.accept()).await.is_none(), "{end}");
        assert!(matches!(client.call::<Blob, Blob>("/", &Blob::default()).await, Err(CallError::Closed)), "{end}");
        soon(session.close()).await;
    }
}
