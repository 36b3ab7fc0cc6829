//! Two independent yamux crates as peers, in both roles, with storj's dRPC on them.

use futures_util::StreamExt;
use protocol::drpc::Client;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

use crate::support::calls::{Failure, answer, call};
use crate::support::transport::as_bytes;
use crate::support::{Blob, Cut, client_on, echo, echo_at_once, pipe, serve_on, soon};

type LibP2pStream = Compat<yamux::Stream>;

/// Drives libp2p's crate as a client; each sender that comes gets a stream.
fn libp2p_client(bytes: DuplexStream) -> mpsc::UnboundedSender<oneshot::Sender<LibP2pStream>> {
    let (opener, mut wanted) = mpsc::unbounded_channel::<oneshot::Sender<LibP2pStream>>();
    let mut connection = yamux::Connection::new(bytes.compat(), yamux::Config::default(), yamux::Mode::Client);
    tokio::spawn(async move {
        std::future::poll_fn(|cx| {
            while let std::task::Poll::Ready(Some(reply)) = wanted.poll_recv(cx) {
                if let std::task::Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx) {
                    assert!(reply.send(stream.compat()).is_ok());
                }
            }
            connection.poll_next_inbound(cx).map(|inbound| assert!(inbound.is_none(), "a server opens no stream"))
        })
        .await;
    });
    opener
}

fn libp2p_server(bytes: DuplexStream) {
    let mut connection = yamux::Connection::new(bytes.compat(), yamux::Config::default(), yamux::Mode::Server);
    tokio::spawn(async move {
        while let Some(Ok(stream)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {
            tokio::spawn(answer(stream.compat()));
        }
    });
}

fn nervos_client(bytes: DuplexStream) -> tokio_yamux::Control {
    let mut session = tokio_yamux::Session::new_client(bytes, tokio_yamux::Config::default());
    let control = session.control();
    tokio::spawn(async move { while session.next().await.is_some() {} });
    control
}

fn nervos_server(bytes: DuplexStream) {
    let mut session = tokio_yamux::Session::new_server(bytes, tokio_yamux::Config::default());
    tokio::spawn(async move {
        while let Some(Ok(stream)) = session.next().await {
            tokio::spawn(answer(stream));
        }
    });
}

/// What a client of any make has to see at our server. `largest` is what it can write without reading.
async fn exercise_server<S, F>(mut open: impl FnMut() -> F, largest: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = S>,
{
    for _ in 0..200 {
        assert_eq!(soon(call(open().await, "/t/Echo", b"\x0a\x01x")).await.unwrap(), b"\x0a\x01x");
    }
    let mut calls = Vec::new();
    for _ in 0..100 {
        calls.push(tokio::spawn(call(open().await, "/t/Echo", b"\x0a\x01y")));
    }
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap(), b"\x0a\x01y");
    }
    let body = prost::Message::encode_to_vec(&Blob::encoded_as(largest));
    assert!(soon(call(open().await, "/t/Echo", &body)).await.unwrap() == body);
    let refused = soon(call(open().await, "/t/PushContextState", b"")).await;
    assert_eq!(refused, Err(Failure::Remote(12, "Unimplemented".into())));

    // storj's own client, several calls on one stream.
    let mut conn = storj_rpc::Conn::new(open().await);
    for _ in 0..3 {
        assert_eq!(soon(conn.invoke("/t/Echo", b"\x0a\x01z")).await.unwrap(), b"\x0a\x01z");
    }
    let refused = soon(conn.invoke("/t/Fail", b"")).await.unwrap_err();
    assert!(matches!(refused, storj_rpc::Error::Remote { code: 0, ref message } if message == "boom"), "{refused}");
    conn.into_inner().shutdown().await.unwrap();
}

/// What our client has to see at a server of any make.
async fn exercise_client(client: &Client, largest: usize) {
    for _ in 0..200 {
        echo(client, &Blob::of("x")).await;
    }
    echo_at_once(client, 300).await;
    echo(client, &Blob::encoded_as(largest)).await;
    let refused = soon(client.call::<Blob, Blob>("/t/Nothing", &Blob::default())).await.unwrap_err();
    assert!(refused.is_unimplemented());
}

#[tokio::test]
async fn libp2p_calls_our_server() {
    let (ours, theirs) = pipe();
    serve_on(ours);
    let opener = libp2p_client(as_bytes(theirs, Cut::Whole));
    exercise_server(
        || async {
            let (reply, stream) = oneshot::channel();
            opener.send(reply).unwrap();
            stream.await.unwrap()
        },
        4 << 20,
    )
    .await;
}

#[tokio::test]
async fn our_client_calls_libp2p() {
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    libp2p_server(as_bytes(theirs, Cut::Whole));
    exercise_client(&client, 4 << 20).await;
}

#[tokio::test]
async fn nervos_calls_our_server() {
    let (ours, theirs) = pipe();
    serve_on(ours);
    let control = nervos_client(as_bytes(theirs, Cut::Whole));
    // This crate sees new credit only while its stream is read.
    exercise_server(
        || {
            let mut control = control.clone();
            async move { control.open_stream().await.unwrap() }
        },
        200_000,
    )
    .await;
}

#[tokio::test]
async fn our_client_calls_nervos() {
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    nervos_server(as_bytes(theirs, Cut::Whole));
    exercise_client(&client, 200_000).await;
}
