//! Bytes captured from Go's libraries: what our ends send for them is the same, packet by packet.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use protocol::agent_api::path;
use protocol::drpc::{Call, CallError, Client, Encoder, Kind, Service, Status, serve};
use protocol::session::{Message, Options, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::frames::{DATA, FIN, Frame, Plain, SYN, all_frames, packets, packets_of, take_frame};
use crate::support::go::Go;
use crate::support::{Pipe, client_on, pipe, soon, until};

fn captured(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/testdata").join(name)).unwrap()
}

fn calls(name: &str) -> (BTreeMap<u32, Vec<Plain>>, BTreeMap<u32, Vec<Plain>>) {
    let direction = |suffix| packets(&all_frames(&captured(&format!("{name}.{suffix}.bin"))));
    (direction("a2s"), direction("s2a"))
}

/// A message that is its own bytes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Raw(Vec<u8>);

impl prost::Message for Raw {
    fn encode_raw(&self, buf: &mut impl prost::bytes::BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        buf: &mut impl prost::bytes::Buf,
        ctx: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::encode_key(tag, wire_type, &mut self.0);
        let before = buf.chunk().to_vec();
        prost::encoding::skip_field(wire_type, tag, buf, ctx)?;
        self.0.extend(&before[..before.len() - buf.remaining()]);
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[test]
fn the_request_is_the_golden_one_byte_for_byte() {
    let mut encoder = Encoder::new(1);
    let mut bytes = Vec::new();
    encoder.packet(Kind::Invoke, path::GET_MANIFEST.as_bytes(), &mut bytes);
    encoder.packet(Kind::Message, &[], &mut bytes);
    encoder.packet(Kind::CloseSend, &[], &mut bytes);
    assert_eq!(hex::encode(bytes), hex::encode(captured("req.bin")));
}

#[test]
fn the_manifest_is_the_golden_one_byte_for_byte() {
    let packets = packets_of(&captured("resp.bin"));
    assert_eq!(packets.len(), 2);
    assert_eq!((packets[1].2, packets[1].3.as_slice()), (Kind::CloseSend, &[][..]));
    let manifest: protocol::agent_api::Manifest = prost::Message::decode(packets[0].3.as_slice()).unwrap();
    assert_eq!(manifest.agent_id, (0..16).collect::<Vec<u8>>());
    assert_eq!(manifest.environment_variables["FOO"], "bar");
    assert_eq!(manifest.secrets[0].env_name, "GITHUB_TOKEN");
    assert_eq!(manifest.secrets[0].file_path, "~/.config/gh/token");
    assert_eq!(manifest.secrets[0].value, b"s3cr3t\n");

    let mut encoder = Encoder::new(1);
    let mut bytes = Vec::new();
    encoder.packet(Kind::Message, &prost::Message::encode_to_vec(&manifest), &mut bytes);
    encoder.packet(Kind::CloseSend, &[], &mut bytes);
    assert_eq!(hex::encode(bytes), hex::encode(captured("resp.bin")));
}

#[test]
fn the_other_packets_are_the_golden_ones() {
    let packet = |message: u64, kind, data: &[u8]| {
        let mut encoder = Encoder::new(1);
        let mut bytes = Vec::new();
        for number in 1..=message {
            bytes.clear();
            encoder.packet(kind, if number == message { data } else { &[] }, &mut bytes);
        }
        hex::encode(bytes)
    };
    assert_eq!(
        packet(1, Kind::Error, &Status::unimplemented().to_bytes()),
        "07010115000000000000000c556e696d706c656d656e746564"
    );
    let unknown = Status::new("protocol error: unknown rpc: \"/coder.agent.v2.Agent/Nope\"");
    assert!(packet(1, Kind::Error, &unknown.to_bytes()).starts_with("070101410000000000000000"));
    assert!(unknown.is_unimplemented());
    assert_eq!(packet(4, Kind::Close, &[]), "0b010400");
    assert_eq!(packet(1, Kind::Message, &[]), "05010100");
    let cancel = packets_of(&hex::decode("89010400").unwrap());
    assert_eq!(cancel, [(1, 4, Kind::Cancel, vec![])]);
}

/// The message with which an agent ends Coordinate.
const DISCONNECT: [u8; 2] = [0x12, 0];

/// Answers the calls of a session as they were answered when it was captured: by path and request, in order.
struct Recorded(Mutex<BTreeMap<PathAndRequest, VecDeque<Vec<Plain>>>>);

type PathAndRequest = (String, Vec<u8>);

impl Recorded {
    fn new(asked: &BTreeMap<u32, Vec<Plain>>, answered: &BTreeMap<u32, Vec<Plain>>) -> Self {
        let mut answers: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for (id, asked) in asked {
            for invoke in asked.iter().filter(|packet| packet.2 == Kind::Invoke) {
                let of_call = |packet: &&Plain| packet.0 == invoke.0;
                let request = asked.iter().filter(of_call).find(|packet| packet.2 == Kind::Message);
                let key =
                    (String::from_utf8(invoke.3.clone()).unwrap(), request.map(|p| p.3.clone()).unwrap_or_default());
                let answer: Vec<_> = answered.get(id).into_iter().flatten().filter(of_call).cloned().collect();
                // Where the agent broke the protocol there was none.
                if !answer.is_empty() {
                    answers.entry(key).or_default().push_back(answer);
                }
            }
        }
        Self(Mutex::new(answers))
    }
}

impl Service for Recorded {
    async fn handle(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        let request: Raw = call.request().await?;
        let answer = self.0.lock().unwrap().get_mut(&(path.to_owned(), request.0)).and_then(VecDeque::pop_front);
        for (_, _, kind, data) in answer.expect("a recorded call") {
            match kind {
                Kind::Message => call.reply(&Raw(data)).await?,
                Kind::Error => return Err(Status::from_bytes(&data)),
                _ => {}
            }
        }
        match path {
            path::STREAM_DERP_MAPS => std::future::pending().await,
            path::COORDINATE => {
                while call.next::<Raw>().await?.is_some_and(|request| request != Raw(DISCONNECT.into())) {}
            }
            _ => {}
        }
        Ok(())
    }
}

/// The call, of its stream, whose answer the agent had when it sent `frame`.
fn answered_before(frame: &Frame) -> Option<u64> {
    match frame.body.as_slice() {
        _ if frame.has(FIN) => Some(u64::MAX),
        [0x0b, call, ..] => Some(u64::from(*call)),
        [0x03, call @ 2..=0x7f, ..] => Some(u64::from(*call) - 1),
        _ => None,
    }
}

/// Plays the agent's side of a captured session, frame by frame, each stream's end only when its answer has come.
async fn replay_to_our_server(name: &str) {
    let (asked, answered) = calls(name);
    let (ours, mut theirs) = pipe();
    let session = Session::start(ours, Role::Server, Options::new(Role::Server));
    let serving = tokio::spawn(serve(session, Arc::new(Recorded::new(&asked, &answered))));
    let mut received = Received::default();
    for frame in all_frames(&captured(&format!("{name}.a2s.bin"))) {
        if frame.kind > 1 {
            // Its answer to a ping that we have not sent would end the session.
            continue;
        }
        if let Some(call) = answered_before(&frame) {
            received.until_answered(&mut theirs, frame.id, call, &answered).await;
        }
        theirs.send(Message::Binary(Bytes::from(frame.bytes()))).await.unwrap();
    }
    received.until_finished(&mut theirs, asked.keys()).await;
    theirs.send(Message::Close(1000)).await.unwrap();
    while let Some(Ok(message)) = soon(theirs.next()).await {
        received.take(message);
    }
    soon(serving).await.unwrap();
    let ours = packets(&received.frames);
    for (id, answer) in &answered {
        assert!(&ours[id] == answer, "{name}, stream {id}: {:?}", ours[id]);
    }
    // The empty write that acknowledges a stream carries no packet.
    assert!(ours.iter().all(|(id, sent)| sent.is_empty() || answered.contains_key(id)), "{name}");
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

impl Received {
    fn take(&mut self, message: Message) {
        if let Message::Binary(part) = message {
            self.bytes.extend(part);
            while let Some(frame) = take_frame(&mut self.bytes) {
                self.frames.push(frame);
            }
        }
    }

    /// Reads until the answers to the calls of stream `id` up to `call` have come.
    async fn until_answered(&mut self, theirs: &mut Pipe, id: u32, call: u64, answered: &BTreeMap<u32, Vec<Plain>>) {
        let expected = answered.get(&id).map_or(0, |packets| packets.iter().filter(|p| p.0 <= call).count());
        loop {
            let come = packets(&self.frames).get(&id).map_or(0, Vec::len);
            if come >= expected {
                return;
            }
            let message = soon(theirs.next()).await.expect("the session lives").unwrap();
            self.take(message);
        }
    }

    /// Reads until each of `streams` has been ended, once.
    async fn until_finished(&mut self, theirs: &mut Pipe, streams: impl Iterator<Item = &u32>) {
        for id in streams {
            let fins = |frames: &[Frame]| frames.iter().filter(|frame| frame.id == *id && frame.has(FIN)).count();
            while fins(&self.frames) == 0 {
                let message = soon(theirs.next()).await.expect("the session lives").unwrap();
                self.take(message);
            }
            assert_eq!(fins(&self.frames), 1, "stream {id}");
        }
    }
}

#[tokio::test]
async fn captured_sessions_of_go_agents_are_answered_as_they_were() {
    for name in [
        "boot-srv-1",
        "boot-goagent-rustserver",
        "unknown-rpc-and-code12",
        "invoke-metadata",
        "three-rpcs-one-stream",
        "dripped-and-bad-frames",
    ] {
        replay_to_our_server(name).await;
    }
}

/// Makes the unary calls of a captured session with our client; the peer answers with the captured bytes.
async fn replay_to_our_client(name: &str) {
    let (asked, answered) = calls(name);
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    for (id, asked) in &asked {
        let answer = answered.get(id).cloned().unwrap_or_default();
        let unary = asked.iter().filter(|p| p.2 == Kind::Invoke).count() == 1
            && asked[0].2 == Kind::Invoke
            && matches!(answer.as_slice(), [(.., Kind::Message, _), (.., Kind::CloseSend, _)] | [(.., Kind::Error, _)]);
        if unary && asked.get(2).is_some_and(|packet| packet.2 == Kind::CloseSend) {
            replay_call(&client, &go, asked, &answer, &raw_answer(name, *id)).await;
        }
    }
    go.assert_content();
}

fn raw_answer(name: &str, id: u32) -> Vec<u8> {
    let frames = all_frames(&captured(&format!("{name}.s2a.bin")));
    frames.into_iter().filter(|f| f.id == id && f.kind == DATA).flat_map(|f| f.body).collect()
}

async fn replay_call(client: &Client, go: &Go, asked: &[Plain], answer: &[Plain], raw: &[u8]) {
    let path = String::from_utf8(asked[0].3.clone()).unwrap();
    let request = Raw(asked[1].3.clone());
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.call::<Raw, Raw>(&path, &request).await }
    });
    let mut stream = soon(go.accept()).await.unwrap();
    let mut received = Vec::new();
    while packets_of(&received).len() < 3 {
        soon(stream.read_buf(&mut received)).await.unwrap();
    }
    stream.write_all(raw).await.unwrap();
    match soon(calling).await.unwrap() {
        Ok(body) => assert_eq!(body.0, answer[0].3),
        Err(CallError::Refused(status)) => assert_eq!(status.to_bytes(), answer[0].3),
        Err(error) => panic!("{error}"),
    }
    soon(stream.read_to_end(&mut received)).await.unwrap();
    assert!(packets_of(&received) == asked, "{:?}", packets_of(&received));
}

#[tokio::test]
async fn our_client_asks_as_go_does_and_understands_its_answers() {
    for name in ["boot-srv-1", "boot-goagent-rustserver", "unknown-rpc-and-code12"] {
        replay_to_our_client(name).await;
    }
}

#[tokio::test]
async fn the_frames_of_a_call_are_the_golden_ones() {
    let (ours, theirs) = pipe();
    let (_session, client) = client_on(ours);
    let go = Go::start(theirs, false);
    tokio::spawn(async move { client.call::<Raw, Raw>(path::GET_MANIFEST, &Raw::default()).await });
    until(|| go.seen().iter().any(|frame| frame.id == 1)).await;
    let first = go.seen().into_iter().find(|frame| frame.id == 1).unwrap();
    assert_eq!(hex::encode(first.bytes()), format!("0000000100000001{:08x}{}", 45, hex::encode(captured("req.bin"))));
    assert!(first.has(SYN));
}
