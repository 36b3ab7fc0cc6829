//! The boot of a real Go agent, byte for byte, against the executable. What of it the server keeps is tested in its own package; here it
//! counts that nothing of it upsets the server.

use std::collections::BTreeMap;

use futures_util::{SinkExt as _, StreamExt as _};
use tests::{DEV, LONG, World};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

const CAPTURE: &[u8] = include_bytes!("../../../protocol/testdata/boot-srv-1.a2s.bin");
const FIN: u8 = 4;
const RESET: u8 = 8;
const GO_AWAY: u8 = 3;
/// The stream of the capture that is a call for maps; it has no last word.
const MAPS: u32 = 21;

/// Kind, flags, stream and body of a yamux frame, and its length.
fn frame(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8], usize)> {
    let head = bytes.get(..12)?;
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    let length = if head[1] == 0 { number(8) as usize } else { 0 };
    Some((head[1], head[3], number(4), bytes.get(12..12 + length)?, 12 + length))
}

#[derive(Default)]
struct Stream {
    data: Vec<u8>,
    fins: usize,
}

impl Stream {
    /// Whether it has the last word: a `CloseSend` or an error.
    fn is_answered(&self, id: u32) -> bool {
        id == MAPS && !self.data.is_empty()
            || self.data.first() == Some(&0x07)
            || [[0x0d, 1, 1, 0], [0x0d, 1, 2, 0]].iter().any(|words| self.data.ends_with(words))
    }
}

struct Replay {
    socket: WebSocketStream<TcpStream>,
    received: Vec<u8>,
    streams: BTreeMap<u32, Stream>,
}

impl Replay {
    async fn receive_until(&mut self, done: impl Fn(&BTreeMap<u32, Stream>) -> bool) {
        while !done(&self.streams) {
            let Some(Ok(message)) = self.socket.next().await else { panic!("the session ended") };
            if let Message::Binary(bytes) = message {
                self.received.extend_from_slice(&bytes);
            }
            while let Some((kind, flags, id, body, length)) = frame(&self.received) {
                assert!(kind != GO_AWAY && flags & RESET == 0, "kind {kind} flags {flags} stream {id}");
                let stream = self.streams.entry(id).or_default();
                stream.data.extend_from_slice(body);
                stream.fins += usize::from(flags & FIN != 0);
                self.received.drain(..length);
            }
        }
    }

    async fn run(&mut self) {
        let mut rest = CAPTURE;
        while let Some((kind, _, id, body, length)) = frame(rest) {
            // Close came after the answer; before it, it would cancel the call.
            if kind == 0 && body.first() == Some(&0x0b) {
                self.receive_until(|streams| streams.get(&id).is_some_and(|stream| stream.is_answered(id))).await;
            }
            self.socket.send(Message::binary(rest[..length].to_vec())).await.unwrap();
            rest = &rest[length..];
        }
        self.receive_until(|streams| (1..=25).step_by(2).all(|id| streams.get(&id).is_some_and(|it| it.fins > 0)))
            .await;
    }
}

#[test]
fn the_boot_of_a_go_agent() {
    let World { server, workspace, .. } = World::with(DEV);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("ws://{}/api/v2/workspaceagents/me/rpc?role=agent&version=2.10", server.address());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Coder-Session-Token", workspace.token().parse().unwrap());
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        let (socket, _) = client_async(request, tcp).await.unwrap();
        let mut replay = Replay { socket, received: Vec::new(), streams: BTreeMap::new() };
        timeout(LONG, replay.run()).await.expect("an answer and a FIN on every stream");
        let stray: Vec<_> = replay.streams.iter().filter(|(id, stream)| **id != 0 && stream.fins != 1).collect();
        assert!(stray.is_empty(), "not one FIN on {:?}", stray.iter().map(|(id, _)| id).collect::<Vec<_>>());
    });
    workspace.wait_lifecycle("off");
    assert_eq!(workspace.show_agent()["version"].as_str().map(|version| &version[..1]), Some("v"));
}
