//! Many agents in one process: each dials, authenticates and fetches as a real one does, and does nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _, future, stream};
use protocol::agent_api::{DIALED_VERSION, GetManifestRequest, Manifest, path};
use protocol::drpc::Client;
use protocol::rest::SESSION_TOKEN_HEADER;
use protocol::session::{Message, Options, Role, Session, Transport};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// How long a rate is measured.
const SPAN: Duration = Duration::from_secs(10);
/// As many as keep two cores busy without measuring a queue.
const AT_ONCE: usize = 32;

/// `hold` connects all agents and keeps them until it is killed; `calls` fetches over open connections as often as it can;
/// `connects` dials, fetches and closes as often as it can.
pub fn run(url: &str, tokens: &str, work: &str) {
    let tokens: Vec<String> =
        std::fs::read_to_string(tokens).expect("the file of tokens").lines().map(str::to_owned).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    let address = url.trim_start_matches("http://");
    runtime.block_on(async {
        match work {
            "hold" => hold(address, &tokens).await,
            "calls" => println!("{:.0} per second", rate(address, &tokens, true).await),
            "connects" => println!("{:.0} per second", rate(address, &tokens, false).await),
            _ => panic!("unknown work {work}"),
        }
    });
}

async fn hold(address: &str, tokens: &[String]) {
    let dials = stream::iter(tokens).map(|token| async move {
        let session = dial(address, token).await;
        fetch(&session).await;
        session
    });
    let sessions: Vec<Session> = dials.buffer_unordered(AT_ONCE).collect().await;
    println!("held {}", sessions.len());
    future::pending::<()>().await;
}

async fn rate(address: &str, tokens: &[String], open: bool) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let workers = tokens.iter().take(AT_ONCE).map(|token| {
        let done = Arc::clone(&done);
        async move {
            let mut session = dial(address, token).await;
            while start.elapsed() < SPAN {
                fetch(&session).await;
                done.fetch_add(1, Ordering::Relaxed);
                if !open {
                    session.close().await;
                    session = dial(address, token).await;
                }
            }
        }
    });
    future::join_all(workers).await;
    #[expect(clippy::cast_precision_loss, reason = "no decimals are shown")]
    let done = done.load(Ordering::Relaxed) as f64;
    done / start.elapsed().as_secs_f64()
}

async fn fetch(session: &Session) {
    let manifest: Manifest =
        Client::new(session.opener()).call(path::GET_MANIFEST, &GetManifestRequest {}).await.expect("a manifest");
    assert!(!manifest.secrets.is_empty(), "a manifest without secrets measures nothing");
}

async fn dial(address: &str, token: &str) -> Session {
    let url = format!("ws://{address}/api/v2/workspaceagents/me/rpc?role=agent&version={DIALED_VERSION}");
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert(SESSION_TOKEN_HEADER, token.parse().expect("a token"));
    let tcp = TcpStream::connect(address).await.expect("connect");
    tcp.set_nodelay(true).expect("set an option");
    let (socket, _) = tokio_tungstenite::client_async(request, tcp).await.expect("the handshake");
    Session::start(neutral(socket), Role::Agent, Options::new(Role::Agent))
}

fn neutral(socket: tokio_tungstenite::WebSocketStream<TcpStream>) -> impl Transport {
    let outgoing = |message| {
        future::ready(Ok::<_, io::Error>(match message {
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
            Message::Text => tungstenite::Message::text(""),
            Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
            Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
            Message::Close(code) => tungstenite::Message::Close(Some(tungstenite::protocol::CloseFrame {
                code: code.into(),
                reason: tungstenite::Utf8Bytes::default(),
            })),
        }))
    };
    let incoming = |message: Result<tungstenite::Message, tungstenite::Error>| {
        Ok(match message.map_err(io::Error::other)? {
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Text(_) | tungstenite::Message::Frame(_) => Message::Text,
            tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
            tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
            tungstenite::Message::Close(frame) => Message::Close(frame.map_or(1005, |frame| frame.code.into())),
        })
    };
    socket.sink_map_err(io::Error::other).with(outgoing).map(incoming)
}
