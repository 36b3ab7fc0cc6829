//! Many calls, large messages and odd cuts, with a strict Go model on the other end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use protocol::drpc::{CallError, Status};
use protocol::session::{Message, Options, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::calls::{Failure, Packets, answer, bytes_of, call, packet, request};
use crate::support::frames::{Frame, SYN, WINDOW};
use crate::support::go::Go;
use crate::support::{
    Blob, Cut, Size, TestService, client_on, echo, echo_at_once, go_agent, go_server, pipe, serve_on, soon, transport,
    until,
};

const MAX: usize = 4 << 20;
const SIZES: [usize; 9] =
    [3, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 1 << 20, MAX];

#[tokio::test]
async fn ten_thousand_calls_of_go_fail_never_and_leave_no_stream() {
    let (go, _) = go_agent();
    for _ in 0..10_000 {
        assert_eq!(call(go.open(), "/t/Echo", b"\x0a\x01x").await.unwrap(), b"\x0a\x01x");
    }
    until(|| go.open_streams() == 0).await;
    go.assert_content();
}

#[tokio::test]
async fn streams_of_go_600_at_once() {
    let (go, service) = go_agent();
    let mut streams = Vec::new();
    for _ in 0..600 {
        // Go itself waits when 256 are not acknowledged.
        until(|| go.unacknowledged() < 250).await;
        let mut stream = go.open();
        stream.write_all(&request("/t/Silent", b"")).await.unwrap();
        streams.push(stream);
    }
    // All are taken, and as many answered as one session may have at a time.
    until(|| go.unacknowledged() == 0 && service.silent.load(Ordering::SeqCst) == 64).await;
    go.assert_content();
    drop(streams);
    until(|| service.silent.load(Ordering::SeqCst) + go.open_streams() == 0).await;
    assert!(soon(call(go.open(), "/t/Echo", b"")).await.is_ok());
    go.assert_content();
}

#[tokio::test]
async fn concurrent_calls_of_go_500() {
    let (go, _) = go_agent();
    let mut calls = Vec::new();
    for _ in 0..500 {
        until(|| go.unacknowledged() < 250).await;
        calls.push(tokio::spawn(call(go.open(), "/t/Echo", b"\x0a\x01x")));
    }
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap(), b"\x0a\x01x");
    }
    go.assert_content();
}

#[tokio::test]
async fn our_calls_3000_in_a_row_and_500_at_once() {
    let (go, _session, client) = go_server();
    for _ in 0..3000 {
        echo(&client, &Blob::of("x")).await;
    }
    echo_at_once(&client, 500).await;
    until(|| go.open_streams() == 0).await;
    go.assert_content();
}

#[tokio::test]
async fn messages_of_every_size_pass_both_ways_and_one_byte_too_many_fails_its_call_only() {
    let (go, _) = go_agent();
    for size in SIZES {
        let body = prost::Message::encode_to_vec(&Blob::encoded_as(size));
        assert!(soon(call(go.open(), "/t/Echo", &body)).await.unwrap() == body, "{size}");
    }
    let too_large = soon(call(go.open(), "/t/Echo", &vec![0; MAX + 1])).await.unwrap_err();
    assert_eq!(too_large, Failure::Remote(0, "data overflow: packet over 4194304 bytes".into()));
    let size = prost::Message::encode_to_vec(&Size { encoded: MAX as u64 + 1 });
    let too_large = soon(call(go.open(), "/t/Sized", &size)).await.unwrap_err();
    assert_eq!(too_large, Failure::Remote(0, "reply of 4194305 bytes is over the limit of 4194304".into()));
    assert!(soon(call(go.open(), "/t/Echo", b"")).await.is_ok());
    go.assert_content();
}

#[tokio::test]
async fn our_messages_of_every_size_pass_and_one_byte_too_many_fails_its_call_only() {
    let (_go, _session, client) = go_server();
    for size in SIZES {
        echo(&client, &Blob::encoded_as(size)).await;
    }
    let refused = client.call::<Blob, Blob>("/t/Echo", &Blob::encoded_as(MAX + 1)).await;
    assert!(matches!(refused, Err(CallError::TooLarge)));
    let refused = soon(client.call::<Blob, Blob>("/t/Huge", &Blob::default())).await;
    assert!(matches!(refused, Err(CallError::TooLarge)));
    let refused = soon(client.call::<Blob, Blob>("/t/Nothing", &Blob::default())).await.unwrap_err();
    assert!(refused.is_unimplemented());
    echo(&client, &Blob::of("still here")).await;
}

#[tokio::test]
async fn one_byte_a_message_and_fifty_packets_in_one() {
    let (ours, theirs) = pipe();
    serve_on(ours);
    let mut bytes = transport::as_bytes(theirs, Cut::Drip);
    let open = Frame::new(WINDOW, SYN, 1, 0).bytes();
    let ask = Frame::data(0, 1, &request("/t/Echo", b"\x0a\x02hi")).bytes();
    soon(bytes.write_all(&[open, ask].concat())).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(&hex::decode("050101040a0268690d010200").unwrap()) {
        assert!(soon(bytes.read_buf(&mut received)).await.unwrap() > 0);
    }

    let (go, _) = go_agent();
    let mut stream = go.open();
    let mut packets = vec![packet(1, storj_rpc::Kind::INVOKE, b"/t/Chat")];
    packets.extend((2..50).map(|message| packet(message, storj_rpc::Kind::MESSAGE, b"\x0a\x01x")));
    packets.push(packet(50, storj_rpc::Kind::CLOSE_SEND, b""));
    stream.write_all(&bytes_of(&packets)).await.unwrap();
    let mut answers = Packets::default();
    for _ in 2..50 {
        assert_eq!(soon(answers.next(&mut stream)).await.unwrap().unwrap().data, b"\x0a\x01x");
    }
    let last = soon(answers.next(&mut stream)).await.unwrap().unwrap();
    assert_eq!(last.kind, storj_rpc::Kind::CLOSE_SEND);
    go.assert_content();
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_call_is_ended() {
    let (go, _) = go_agent();
    go.allow_early_fin();
    for nonsense in ["0501010161", "0d010100", "1301010161", "ffffffffffffffffffffffffff"] {
        let mut stream = go.open();
        stream.write_all(&hex::decode(nonsense).unwrap()).await.unwrap();
        assert_eq!(soon(stream.read_to_end(&mut Vec::new())).await.unwrap(), 0, "{nonsense}");
    }
    let long_path = bytes_of(&[packet(1, storj_rpc::Kind::INVOKE, &[b'/'; 5000])]);
    let mut stream = go.open();
    stream.write_all(&long_path).await.unwrap();
    assert_eq!(soon(stream.read_to_end(&mut Vec::new())).await.unwrap(), 0);
    assert!(soon(call(go.open(), "/t/Echo", b"")).await.is_ok());
    go.assert_content();
}

#[tokio::test]
async fn requests_that_are_not_what_they_should_be_fail_their_call() {
    let (go, _) = go_agent();
    let refused = soon(call(go.open(), "/t/Doubt", b"")).await;
    assert_eq!(refused, Err(Failure::Remote(0, "no, after all".into())), "and not the answer that was queued");
    let refused = soon(call(go.open(), "/t/Echo", b"\xff\xff")).await.unwrap_err();
    assert!(matches!(refused, Failure::Remote(0, text) if text.starts_with("cannot decode the request")));
    let mut stream = go.open();
    let none = [packet(1, storj_rpc::Kind::INVOKE, b"/t/Echo"), packet(2, storj_rpc::Kind::CLOSE_SEND, b"")];
    stream.write_all(&bytes_of(&none)).await.unwrap();
    let refused = soon(Packets::default().next(&mut stream)).await.unwrap().unwrap();
    assert_eq!(refused.data, Status::new("the call ended without a request").to_bytes());
    go.assert_content();
}

#[tokio::test]
async fn a_call_ends_when_its_client_says_so_and_the_next_one_is_answered() {
    let (ours, theirs) = pipe();
    let (service, _) = serve_on(ours);
    let go = Go::start(theirs, true);
    // Close, soft Cancel, and the next call itself.
    for end in ["0b010400", "89010400", ""] {
        let mut stream = go.open();
        stream.write_all(&request("/t/Silent", b"")).await.unwrap();
        until(|| service.silent.load(Ordering::SeqCst) == 1).await;
        stream.write_all(&hex::decode(end).unwrap()).await.unwrap();
        stream.write_all(b"\x03\x02\x01\x07/t/Echo\x05\x02\x02\x03\x0a\x01x\x0d\x02\x03\x00").await.unwrap();
        let answer = soon(Packets::default().next(&mut stream)).await.unwrap().unwrap();
        assert_eq!((answer.stream_id, answer.data.as_slice()), (2, &b"\x0a\x01x"[..]), "{end}");
        assert_eq!(service.silent.load(Ordering::SeqCst), 0);
    }
    go.assert_content();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_without_end() {
    let (go, _) = go_agent();
    go.allow_early_fin();
    let start = tokio::time::Instant::now();
    let asks_nothing = go.open();
    let mut takes_nothing = go.open();
    let size = prost::Message::encode_to_vec(&Size { encoded: 1 << 20 });
    takes_nothing.write_all(&request("/t/Sized", &size)).await.unwrap();
    for (at, finished) in [(29, (false, false)), (31, (true, false)), (59, (true, false)), (61, (true, true))] {
        tokio::time::sleep_until(start + Duration::from_secs(at)).await;
        assert_eq!((asks_nothing.peer_has_finished(), takes_nothing.peer_has_finished()), finished, "{at} s");
    }
    go.assert_content();

    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    let accepting = go.clone();
    tokio::spawn(async move { answer(accepting.accept().await.unwrap()).await });
    let start = tokio::time::Instant::now();
    let error = client.call::<Blob, Blob>("/t/Silent", &Blob::default()).await.unwrap_err();
    assert!(matches!(error, CallError::TimedOut));
    assert_eq!(start.elapsed().as_secs(), 60);
    go.assert_content();
}

#[tokio::test]
async fn large_requests_wait_for_each_other_and_small_ones_pass() {
    let (go, _) = go_agent();
    let half = &request("/t/Echo", &vec![0; 1 << 20])[..200_000];
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let mut stream = go.open();
        soon(stream.write_all(half)).await.unwrap();
        stalled.push(stream);
    }
    // Written means sent here, not taken in, so the places are known to be full only once a ninth is seen to wait.
    let body = prost::Message::encode_to_vec(&Blob::encoded_as(300_000));
    let waiting = tokio::spawn({
        let (stream, body) = (go.open(), body.clone());
        async move { call(stream, "/t/Echo", &body).await }
    });
    assert!(soon(call(go.open(), "/t/Echo", b"")).await.is_ok());
    stalled.pop();
    assert!(soon(waiting).await.unwrap().unwrap() == body);
    go.assert_content();
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_session() {
    let (ours, theirs) = pipe();
    let (_, serving) = serve_on(ours);
    let go = Go::start(theirs, true);
    let mut stream = go.open();
    stream.write_all(&request("/t/Panic", b"")).await.unwrap();
    soon(serving).await.unwrap();
    until(|| go.close_code().is_some()).await;
}

#[tokio::test]
async fn our_client_and_our_server_agree() {
    let (left, right) = pipe();
    let service = Arc::new(TestService::default());
    let session = Session::start(left, Role::Server, Options::new(Role::Server));
    tokio::spawn(protocol::drpc::serve(session, service));
    let (agent, client) = client_on(right);
    echo(&client, &Blob::encoded_as(MAX)).await;
    let refused = soon(client.call::<Blob, Blob>("/t/Fail", &Blob::default())).await.unwrap_err();
    assert!(matches!(&refused, CallError::Refused(status) if status.message == "boom"), "{refused}");
    soon(agent.close()).await;
}

#[tokio::test]
async fn empty_messages_are_no_end() {
    let (ours, mut theirs) = pipe();
    let (session, _) = client_on(ours);
    for _ in 0..3 {
        theirs.send(Message::Binary(bytes::Bytes::new())).await.unwrap();
    }
    let go = Go::start(theirs, false);
    go.ping(3);
    until(|| go.pongs() == [3]).await;
    drop(session);
}
