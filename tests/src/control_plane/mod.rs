//! A control plane that shares no code with the product: it answers as it is told and records what it hears, calls of
//! agents and requests of the command line.

pub mod socket;
pub mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_yamux::{Config, Session, StreamHandle};

use crate::wait::{LONG, SHORT, wait_for};

use socket::{End, Sender};
use wire::{CLOSE_SEND, INVOKE, MESSAGE, Packets, Proto};

const DIAL: &[u8] = b"GET /api/v2/workspaceagents/me/rpc";
/// What a request is answered with where a test says nothing else.
const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

pub const MANIFEST: &str = "/coder.agent.v2.Agent/GetManifest";
pub const STARTUP: &str = "/coder.agent.v2.Agent/UpdateStartup";
pub const LIFECYCLE: &str = "/coder.agent.v2.Agent/UpdateLifecycle";
pub const LOGS: &str = "/coder.agent.v2.Agent/BatchCreateLogs";
pub const SCRIPT: &str = "/coder.agent.v2.Agent/ScriptCompleted";

/// One call, as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub path: String,
    pub body: Vec<u8>,
    /// All bytes of the stream until the request was complete.
    pub bytes: Vec<u8>,
}

type Page = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

#[derive(Default)]
struct State {
    /// By path: the dRPC bytes of the answer.
    answers: HashMap<String, Vec<u8>>,
    heard: Vec<Heard>,
    handshakes: Vec<(String, Vec<(String, String)>)>,
    senders: Vec<Sender>,
    endings: Vec<socket::Ending>,
    /// What requests are answered with.
    page: Option<Page>,
    /// Of requests that nobody has asked for yet.
    bodies: VecDeque<Value>,
}

pub struct ControlPlane {
    url: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl AsRef<str> for ControlPlane {
    fn as_ref(&self) -> &str {
        &self.url
    }
}

impl ControlPlane {
    pub fn new(manifest: &Proto) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let serving = state.clone();
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(connection(tcp, serving.clone()));
            }
        });
        let server = Self { url, state, _runtime: runtime };
        server.answer(MANIFEST, wire::answer(&manifest.0));
        server
    }

    /// One for the command line, which answers each request with what this makes of its body.
    pub fn answering(page: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let server = Self::new(&Proto::default());
        server.lock().page = Some(Arc::new(page));
        server
    }

    /// Its address with the scheme.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body of the next request, as JSON; null where it is empty or no JSON.
    #[track_caller]
    pub fn body(&self) -> Value {
        wait_for("a request", SHORT, || self.lock().bodies.pop_front())
    }

    /// Panics where there was a request beside those of [`Self::body`].
    #[track_caller]
    pub fn saw_nothing(&self) {
        assert_eq!(self.lock().bodies, VecDeque::<Value>::new());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What `path` is answered with from now on.
    pub fn answer(&self, path: &str, bytes: Vec<u8>) {
        self.lock().answers.insert(path.to_owned(), bytes);
    }

    /// The calls of `path` so far.
    pub fn heard(&self, path: &str) -> Vec<Heard> {
        self.lock().heard.iter().filter(|heard| heard.path == path).cloned().collect()
    }

    /// Request line's path and headers of every dial.
    pub fn handshakes(&self) -> Vec<(String, Vec<(String, String)>)> {
        self.lock().handshakes.clone()
    }

    /// The states that were reported.
    pub fn states(&self) -> Vec<u64> {
        let state = |heard: &Heard| {
            let lifecycle = wire::one(&wire::fields(&heard.body), 1);
            wire::one(&wire::fields(lifecycle.bytes()), 1).number()
        };
        self.heard(LIFECYCLE).iter().map(state).collect()
    }

    #[track_caller]
    pub fn wait_state(&self, state: u64) {
        wait_for(&format!("lifecycle state {state}; there was {:?}", self.states()), LONG, || {
            self.states().contains(&state).then_some(())
        });
    }

    /// Sends a message beside the byte stream of every open session.
    pub fn send(&self, message: &Message) {
        self.lock().senders.retain(|sender| sender.send(message.clone()).is_ok());
    }

    /// How sessions ended, in the order they began; `None` for one that goes on.
    pub fn endings(&self) -> Vec<Option<End>> {
        self.lock().endings.iter().map(|ending| *ending.lock().unwrap()).collect()
    }
}

/// A WebSocket, or a request.
async fn connection(tcp: TcpStream, state: Arc<Mutex<State>>) {
    if state.lock().unwrap().page.is_some() {
        return request(tcp, &state).await;
    }
    let mut start = [0; DIAL.len()];
    while let Ok(read @ 1..) = tcp.peek(&mut start).await {
        if !DIAL.starts_with(&start[..read]) {
            return request(tcp, &state).await;
        }
        if read == DIAL.len() {
            return session(tcp, state).await;
        }
    }
}

async fn request(mut tcp: TcpStream, state: &Mutex<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = tcp.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    if tcp.read_exact(&mut body).await.is_err() {
        return;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let page = {
        let mut state = state.lock().unwrap();
        state.bodies.push_back(body.clone());
        state.page.clone()
    };
    let answer = page.map_or(CREATED.to_owned(), |page| {
        let text = page(&body).to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{text}", text.len())
    });
    let _ = tcp.write_all(answer.as_bytes()).await;
}

async fn session(tcp: TcpStream, state: Arc<Mutex<State>>) {
    let mut seen = None;
    #[expect(clippy::result_large_err, reason = "the type is the library's")]
    let note = |request: &Request, response: Response| {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        seen = Some((request.uri().to_string(), headers.collect()));
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(tcp, note).await else { return };
    let (bytes, sender, ending) = socket::bytes_of(socket);
    {
        let mut state = state.lock().unwrap();
        state.handshakes.extend(seen);
        state.senders.push(sender);
        state.endings.push(ending);
    }
    let mut session = Session::new_server(bytes, Config::default());
    while let Some(Ok(stream)) = session.next().await {
        tokio::spawn(serve(stream, state.clone()));
    }
}

async fn serve(stream: StreamHandle, state: Arc<Mutex<State>>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (answers, mut waiting) = mpsc::unbounded_channel::<Vec<u8>>();
    // Beside the reading: tokio-yamux sees the peer's window grow only while somebody reads.
    let answering = async {
        while let Some(answer) = waiting.recv().await {
            writer.write_all(&answer).await?;
        }
        // Not before the agent's FIN.
        writer.shutdown().await
    };
    let reading = async move {
        let mut packets = Packets::default();
        let mut heard = Heard { path: String::new(), body: Vec::new(), bytes: Vec::new() };
        while let Ok(Some((kind, data))) = packets.next(&mut reader).await {
            match kind {
                INVOKE => heard.path = String::from_utf8(data).unwrap(),
                MESSAGE => heard.body = data,
                CLOSE_SEND => {
                    heard.bytes.clone_from(&packets.seen);
                    answers.send(state.lock().unwrap().hear(&heard)).unwrap_or_default();
                }
                _ => {}
            }
        }
    };
    let _ = tokio::join!(reading, answering);
}

impl State {
    fn hear(&mut self, heard: &Heard) -> Vec<u8> {
        self.heard.push(heard.clone());
        if let Some(answer) = self.answers.get(&heard.path) {
            return answer.clone();
        }
        match heard.path.as_str() {
            // The echo is the message within the request.
            STARTUP | LIFECYCLE => wire::answer(wire::one(&wire::fields(&heard.body), 1).bytes()),
            LOGS | SCRIPT => wire::answer(&[]),
            _ => wire::refusal(12, "Unimplemented"),
        }
    }
}
