//! One dial, over a WebSocket of tungstenite's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _, ready};
use protocol::agent_api::DIALED_VERSION;
use protocol::rest::SESSION_TOKEN_HEADER;
use protocol::session::{Message, Options, Role, Session};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// As the agent has them.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
const BUFFER: usize = 8 * 1024;
/// What a close without a code means.
const NO_CODE: u16 = 1005;

/// Dials the server at `address` as an agent does. The error says what failed, the same for all that failed the same way.
pub async fn dial(address: &str, token: &str) -> Result<Session, String> {
    let url = format!("ws://{address}/api/v2/workspaceagents/me/rpc?role=agent&version={DIALED_VERSION}&live=1");
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert(SESSION_TOKEN_HEADER, token.parse().expect("a token"));
    let tcp = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await.map_err(|_| "connect: no answer")?;
    let tcp = tcp.map_err(|error| format!("connect: {}", error.kind()))?;
    tcp.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
    let limits = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(BUFFER);
    let handshake = timeout(HANDSHAKE_LIMIT, client_async_with_config(request, tcp, Some(limits))).await;
    let (socket, _) = handshake.map_err(|_| "handshake: no answer")?.map_err(|error| format!("handshake: {error}"))?;
    Ok(Session::start(Messages(socket), Role::Agent, Options::new(Role::Agent)))
}

/// The messages of a WebSocket, in the words of [`protocol::session`]. Not by adapters of `futures_util`: after an error of
/// the socket those panic where they are polled again, as the end of a session does.
struct Messages(WebSocketStream<TcpStream>);

impl Stream for Messages {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.0.poll_next_unpin(cx));
        Poll::Ready(message.map(|message| message.map(received).map_err(io::Error::other)))
    }
}

impl Sink<Message> for Messages {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        self.0.start_send_unpin(sent(message)).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

fn received(message: tungstenite::Message) -> Message {
    match message {
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Text(_) | tungstenite::Message::Frame(_) => Message::Text,
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(frame) => Message::Close(frame.map_or(NO_CODE, |frame| frame.code.into())),
    }
}

fn sent(message: Message) -> tungstenite::Message {
    match message {
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Text => tungstenite::Message::text(""),
        Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
        Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
        Message::Close(code) => {
            let reason = tungstenite::Utf8Bytes::default();
            tungstenite::Message::Close(Some(CloseFrame { code: code.into(), reason }))
        }
    }
}
