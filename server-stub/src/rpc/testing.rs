//! The agent's end, over a real socket and by another WebSocket library than ours.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::{Extension, Router};
use futures_util::{Sink, SinkExt, Stream, StreamExt, ready};
use protocol::session::{Message, Options, Role, Session};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message as Frame};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::auth::Peer;
use crate::state::{AppState, Settings};
use crate::store::testing;
use crate::store::workspaces::AgentIdentity;

pub(crate) const DEFINITION: &str = r"owner: alice
name: dev
agent:
  name: main
  dir: ~/project
  env: { API: $HOSTNAME/api }
  scripts:
    - { display_name: Install, script: make, run_on_start: true, timeout: 300 }
  metadata:
    - { key: disk, script: df, interval: 60 }
";

/// A server on a loopback port with one workspace.
pub(crate) struct World {
    pub(crate) state: AppState,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) agent: AgentIdentity,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn new(routes: Router<AppState>) -> Self {
        let testing::World { dir, store, .. } = testing::World::new().await;
        let state = AppState::new(store, Settings::unlimited()).await.unwrap();
        let token = apply(&state, false).await.unwrap();
        let agent = state.store.agents().by_token(&token).await.unwrap().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Router::new().nest("/api/v2", routes);
        let app = api.layer(Extension(Peer(address.ip()))).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { state, address, token, agent, _dir: dir }
    }

    /// Dials with the token in a header, as agents do.
    pub(crate) async fn dial(&self, query: &str) -> Session {
        let headers = [("Coder-Session-Token", self.token.as_str())];
        let (socket, _) = self.handshake(query, &headers).await.unwrap();
        Session::start(Frames(socket), Role::Agent, Options::new(Role::Agent))
    }

    pub(crate) async fn handshake(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(WebSocketStream<TcpStream>, Response), Error> {
        let url = format!("ws://{}/api/v2/workspaceagents/me/rpc{query}", self.address);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let socket = TcpStream::connect(self.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        client_async(request, socket).await
    }
}

/// Applies the definition again; the new token, if there is one.
pub(crate) async fn apply(state: &AppState, rotate: bool) -> Option<String> {
    testing::token(&testing::apply(&state.store, DEFINITION, rotate).await)
}

struct Frames(WebSocketStream<TcpStream>);

impl Stream for Frames {
    type Item = io::Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = ready!(self.0.poll_next_unpin(cx));
        Poll::Ready(frame.map(|frame| match frame.map_err(io::Error::other)? {
            Frame::Binary(bytes) => Ok(Message::Binary(bytes)),
            Frame::Ping(bytes) => Ok(Message::Ping(bytes)),
            Frame::Pong(bytes) => Ok(Message::Pong(bytes)),
            Frame::Close(frame) => Ok(Message::Close(frame.map_or(1005, |frame| frame.code.into()))),
            Frame::Text(_) | Frame::Frame(_) => Ok(Message::Text),
        }))
    }
}

impl Sink<Message> for Frames {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(io::Error::other)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> io::Result<()> {
        let frame = match message {
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Text => Frame::Text(Utf8Bytes::default()),
            Message::Ping(bytes) => Frame::Ping(bytes),
            Message::Pong(bytes) => Frame::Pong(bytes),
            Message::Close(code) => Frame::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::default() })),
        };
        self.0.start_send_unpin(frame).map_err(io::Error::other)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}
