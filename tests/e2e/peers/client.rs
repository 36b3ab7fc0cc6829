//! An agent that shares no code with the product.

use futures_util::StreamExt;
use tests::{LONG, SHORT, wait_for};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderMap;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_yamux::{Config, Control, Session, StreamHandle};

use super::control_plane::MANIFEST;
use super::socket::{self, End, Ending, Sender};
use super::wire::{self, Field, Reply};

/// The query of a Go agent.
pub const GO: &str = "?role=agent&version=2.10";

pub struct Client {
    runtime: Runtime,
    control: Control,
    beside: Sender,
    ending: Ending,
}

/// A dial that was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: serde_json::Value,
}

impl Client {
    /// Dials with the token in the header, as agents do now.
    #[track_caller]
    pub fn dial(server: impl AsRef<str>, token: &str) -> Self {
        match Self::try_dial(server, GO, &[("Coder-Session-Token", token)]) {
            Ok(client) => client,
            Err(refused) => panic!("{refused:?}"),
        }
    }

    pub fn try_dial(server: impl AsRef<str>, query: &str, headers: &[(&str, &str)]) -> Result<Self, Box<Refused>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = format!("{}/api/v2/workspaceagents/me/rpc{query}", server.as_ref().replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let address = server.as_ref().trim_start_matches("http://").to_owned();
        let dialled = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.expect("a server");
            tcp.set_nodelay(true).unwrap();
            timeout(SHORT, client_async(request, tcp)).await.expect("an answer")
        });
        let socket = match dialled {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                let body = serde_json::from_slice(body).unwrap_or_default();
                return Err(Box::new(Refused { status, headers, body }));
            }
            Err(error) => panic!("{error}"),
        };
        let guard = runtime.enter();
        let (bytes, beside, ending) = socket::bytes_of(socket);
        let mut session = Session::new_client(bytes, Config::default());
        let control = session.control();
        runtime.spawn(async move { while let Some(Ok(_)) = session.next().await {} });
        drop(guard);
        Ok(Self { runtime, control, beside, ending })
    }

    /// A fresh stream.
    pub fn open(&self) -> StreamHandle {
        let mut control = self.control.clone();
        self.block_on(async move { control.open_stream().await.expect("a stream") })
    }

    /// The same; none when the session has ended.
    pub fn try_open(&self) -> Option<StreamHandle> {
        let mut control = self.control.clone();
        self.block_on(async move { control.open_stream().await.ok() })
    }

    #[track_caller]
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(LONG, work).await.expect("an end") })
    }

    /// A call; what came back is given byte for byte as well.
    #[track_caller]
    pub fn call_raw(&self, request: &[u8]) -> (Reply, Vec<u8>) {
        let stream = self.open();
        self.block_on(wire::call(stream, request)).expect("a stream that lasts")
    }

    #[track_caller]
    pub fn call(&self, path: &str, body: &[u8]) -> Reply {
        self.call_raw(&wire::request(path, body)).0
    }

    #[track_caller]
    pub fn manifest(&self) -> Vec<(u32, Field)> {
        wire::fields(&self.call(MANIFEST, &[]).message())
    }

    /// What the manifest delivers: variable, file and value of each secret.
    #[track_caller]
    pub fn secrets(&self) -> Vec<(String, String, String)> {
        let text =
            |fields: &[(u32, Field)], number| wire::all(fields, number).first().map(Field::text).unwrap_or_default();
        let secrets = wire::all(&self.manifest(), 19);
        let each = secrets.iter().map(|secret| wire::fields(secret.bytes()));
        each.map(|secret| (text(&secret, 1), text(&secret, 2), text(&secret, 3))).collect()
    }

    /// Sends a message beside the byte stream.
    pub fn send(&self, message: Message) {
        self.beside.send(message).unwrap();
    }

    /// Waits for the end of the connection, and tells how it came.
    #[track_caller]
    pub fn ending(&self) -> End {
        wait_for("the end of the session", SHORT, || *self.ending.lock().unwrap())
    }

    /// Whether the session goes on.
    pub fn is_open(&self) -> bool {
        self.ending.lock().unwrap().is_none()
    }
}
