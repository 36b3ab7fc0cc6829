//! dRPC frames and protobuf fields by hand, from the facts of the wire and not from the crate under test.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const INVOKE: u8 = 1;
pub const MESSAGE: u8 = 2;
pub const ERROR: u8 = 3;
pub const CLOSE: u8 = 5;
pub const CLOSE_SEND: u8 = 6;

/// Senders cut packets into frames of at most this.
const FRAME: usize = 64 * 1024;

/// One packet of dRPC stream 1 in as many frames as it takes.
pub fn packet(kind: u8, message: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = data;
    loop {
        let (part, after) = rest.split_at(rest.len().min(FRAME));
        bytes.push(kind << 1 | u8::from(after.is_empty()));
        varint(&mut bytes, 1);
        varint(&mut bytes, message);
        varint(&mut bytes, part.len() as u64);
        bytes.extend_from_slice(part);
        if after.is_empty() {
            return bytes;
        }
        rest = after;
    }
}

/// What a client sends for a unary call.
pub fn request(path: &str, body: &[u8]) -> Vec<u8> {
    [packet(INVOKE, 1, path.as_bytes()), packet(MESSAGE, 2, body), packet(CLOSE_SEND, 3, &[])].concat()
}

/// What a server answers to it.
pub fn answer(body: &[u8]) -> Vec<u8> {
    [packet(MESSAGE, 1, body), packet(CLOSE_SEND, 2, &[])].concat()
}

/// What a server answers instead.
pub fn refusal(code: u64, text: &str) -> Vec<u8> {
    packet(ERROR, 1, &[&code.to_be_bytes(), text.as_bytes()].concat())
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    panic!("a varint of more than ten bytes")
}

/// The packets that come in on one stream.
#[derive(Default)]
pub struct Packets {
    bytes: Vec<u8>,
    partial: Vec<u8>,
    /// Everything that came, as it came.
    pub seen: Vec<u8>,
}

impl Packets {
    /// The next packet as kind and data; `None` at FIN.
    pub async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            while let Some((kind, done, data)) = self.take_frame() {
                self.partial.extend(data);
                if done {
                    return Ok(Some((kind, std::mem::take(&mut self.partial))));
                }
            }
            let before = self.bytes.len();
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
            self.seen.extend_from_slice(&self.bytes[before..]);
        }
    }

    fn take_frame(&mut self) -> Option<(u8, bool, Vec<u8>)> {
        let mut rest = self.bytes.as_slice();
        let (head, after) = rest.split_first()?;
        rest = after;
        assert_eq!(take_varint(&mut rest)?, 1, "the dRPC stream");
        take_varint(&mut rest)?;
        let length = usize::try_from(take_varint(&mut rest)?).unwrap();
        let data = rest.get(..length)?.to_vec();
        let frame = ((head >> 1) & 0x3f, head & 1 == 1, data);
        let used = self.bytes.len() - rest.len() + length;
        self.bytes.drain(..used);
        Some(frame)
    }
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Message(Vec<u8>),
    Error(u64, String),
    /// The peer ended the stream or the session without either.
    Ended,
}

impl Reply {
    #[track_caller]
    pub fn message(self) -> Vec<u8> {
        match self {
            Self::Message(body) => body,
            other => panic!("no message: {other:?}"),
        }
    }
}

/// A unary call, ended as Go ends it: Close, FIN, and then the peer's FIN awaited. Also gives what came, byte for byte.
pub async fn call(stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<(Reply, Vec<u8>)> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut packets = Packets::default();
    // At once: tokio-yamux hears of room in the window of a stream only while somebody reads from it.
    let (written, first) = tokio::join!(writer.write_all(request), packets.next(&mut reader));
    written?;
    let reply = match first? {
        Some((MESSAGE, body)) => {
            assert_eq!(packets.next(&mut reader).await?, Some((CLOSE_SEND, Vec::new())));
            writer.write_all(&packet(CLOSE, 4, &[])).await?;
            Reply::Message(body)
        }
        Some((ERROR, body)) => {
            let (code, text) = body.split_first_chunk().expect("an error code");
            Reply::Error(u64::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned())
        }
        _ => Reply::Ended,
    };
    writer.shutdown().await?;
    assert_eq!(packets.next(&mut reader).await?, None, "something after the last packet");
    Ok((reply, packets.seen))
}

/// A protobuf message being written.
#[must_use]
#[derive(Clone, Default)]
pub struct Proto(pub Vec<u8>);

impl Proto {
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        varint(&mut self.0, u64::from(field) << 3 | 2);
        varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    pub fn number(mut self, field: u32, value: u64) -> Self {
        varint(&mut self.0, u64::from(field) << 3);
        varint(&mut self.0, value);
        self
    }
}

/// One field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("text")
    }

    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} where bytes should be"),
        }
    }

    #[track_caller]
    pub fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(bytes) => panic!("{bytes:?} where a number should be"),
        }
    }
}

/// The fields of a message in the order of the wire.
pub fn fields(mut bytes: &[u8]) -> Vec<(u32, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes).expect("a key");
        let field = u32::try_from(key >> 3).unwrap();
        match key & 7 {
            0 => fields.push((field, Field::Number(take_varint(&mut bytes).expect("a number")))),
            2 => {
                let length = usize::try_from(take_varint(&mut bytes).expect("a length")).unwrap();
                let (value, rest) = bytes.split_at(length);
                fields.push((field, Field::Bytes(value.to_vec())));
                bytes = rest;
            }
            kind => panic!("wire type {kind} of field {field}"),
        }
    }
    fields
}

/// All values of one field.
pub fn all(fields: &[(u32, Field)], number: u32) -> Vec<Field> {
    fields.iter().filter(|(field, _)| *field == number).map(|(_, value)| value.clone()).collect()
}

/// The value of a field that is there once.
#[track_caller]
pub fn one(fields: &[(u32, Field)], number: u32) -> Field {
    let [value] = &all(fields, number)[..] else { panic!("field {number} is not there once: {fields:?}") };
    value.clone()
}
