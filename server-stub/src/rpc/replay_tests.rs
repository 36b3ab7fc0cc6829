//! A boot that a real Go agent went through, sent again byte for byte. Frames of a stream that depend on our answer wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::agent_api::lifecycle::State;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use uuid::uuid;

use super::testing::World;
use crate::store::testing::execute_with;

const PATIENCE: Duration = Duration::from_secs(20);
const COORDINATE: u32 = 19;
const DERP_MAPS: u32 = 21;
const DERP_MAP: &[u8] = &[0x05, 1, 1, 2, 0x0a, 0];

/// Yamux, as far as a capture needs it: kind, flags, stream and body.
type YamuxFrame = (u8, u8, u32, Vec<u8>);

fn next_frame(bytes: &[u8]) -> Option<(YamuxFrame, usize)> {
    let head = bytes.get(..12)?;
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    // Only data has a body.
    let length = if head[1] == 0 { number(8) as usize } else { 0 };
    let body = bytes.get(12..12 + length)?.to_vec();
    Some(((head[1], head[3], number(4), body), 12 + length))
}

/// What the server sent on one stream.
#[derive(Default)]
struct Answer {
    data: Vec<u8>,
    fins: u32,
}

impl Answer {
    /// A `CloseSend` or an Error is the server's last word; the stream of maps has none.
    fn is_complete(&self) -> bool {
        let last_words: [&[u8]; 3] = [&[0x0d, 1, 2, 0], &[0x0d, 1, 1, 0], DERP_MAP];
        last_words.iter().any(|words| self.data.ends_with(words)) || self.data.starts_with(&[0x07])
    }
}

struct Replay {
    socket: WebSocketStream<TcpStream>,
    received: Vec<u8>,
    answers: BTreeMap<u32, Answer>,
}

impl Replay {
    async fn receive(&mut self, what: &str) {
        let Some(message) = self.socket.next().await else { panic!("the session ended before {what}") };
        if let Frame::Binary(bytes) = message.unwrap() {
            self.received.extend_from_slice(&bytes);
        }
        while let Some(((kind, flags, stream, body), length)) = next_frame(&self.received) {
            self.received.drain(..length);
            assert_ne!(kind, 3, "GoAway");
            assert_eq!(flags & 8, 0, "a reset of stream {stream}");
            let answer = self.answers.entry(stream).or_default();
            answer.data.extend(body);
            answer.fins += u32::from(flags & 4 != 0);
        }
    }

    async fn run(&mut self, capture: &[u8]) {
        let mut at = 0;
        while let Some(((kind, _, stream, body), length)) = next_frame(&capture[at..]) {
            // The agent had its answer before it sent Close; sent earlier, it would cancel the call.
            while kind == 0
                && body.first() == Some(&0x0b)
                && !self.answers.get(&stream).is_some_and(Answer::is_complete)
            {
                self.receive(&format!("the answer on stream {stream}")).await;
            }
            self.socket.send(Frame::Binary(capture[at..at + length].to_vec().into())).await.unwrap();
            at += length;
        }
        assert_eq!(at, capture.len(), "the capture ends within a frame");
    }

    /// Every stream of the capture has its FIN.
    async fn until_ended(&mut self) {
        while (1..=25).step_by(2).any(|stream| self.answers.get(&stream).is_none_or(|answer| answer.fins == 0)) {
            self.receive("the last FINs").await;
        }
    }
}

#[tokio::test]
async fn the_boot_of_a_go_agent() {
    let capture = include_bytes!("../../../protocol/testdata/boot-srv-1.a2s.bin");
    let world = World::new(super::routes()).await;
    // The capture names the script and the log source of the server it was taken from.
    let script = uuid!("20212223-2425-2627-2829-2a2b2c2d2e2f");
    let source = uuid!("30313233-3435-3637-3839-3a3b3c3d3e3f");
    execute_with(&world.state.store, "UPDATE scripts SET id = ?, log_source_id = ?", &[script, source]).await;
    execute_with(&world.state.store, "UPDATE log_sources SET id = ?", &[source]).await;
    let token = [("Coder-Session-Token", world.token.as_str())];
    let (socket, _) = world.handshake("?role=agent&version=2.10", &token).await.unwrap();
    let mut replay = Replay { socket, received: Vec::new(), answers: BTreeMap::new() };
    timeout(PATIENCE, replay.run(capture)).await.expect("the agent gets the answers it waits for");
    let ended = timeout(PATIENCE, replay.until_ended()).await;
    let open: Vec<_> =
        replay.answers.iter().filter(|(_, answer)| answer.fins == 0).map(|(stream, _)| *stream).collect();
    assert!(ended.is_ok(), "streams without FIN: {open:?}");

    for (stream, answer) in &replay.answers {
        assert!(*stream == 0 || answer.fins == 1, "stream {stream} has {} FINs", answer.fins);
        let expected: &[u8] = match *stream {
            0 => continue,
            COORDINATE => &[0x0d, 1, 1, 0],
            DERP_MAPS => DERP_MAP,
            _ => &[0x05, 1, 1],
        };
        assert!(answer.data.starts_with(expected), "stream {stream}: {:02x?}", answer.data);
    }
    let store = &world.state.store;
    assert_eq!(store.logs().lines(world.agent.id, 0).await.unwrap().len(), 2);
    assert!(store.agents().scripts(world.agent.id).await.unwrap()[0].last.is_some());
    let states: Vec<_> =
        store.agents().lifecycle(world.agent.id).await.unwrap().into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [State::Starting, State::Ready, State::ShuttingDown, State::Off]);
}
