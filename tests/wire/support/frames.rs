//! yamux frames by hand, so that what is checked does not check itself.

use std::collections::BTreeMap;

use protocol::drpc::{Decoder, Kind};

pub const DATA: u8 = 0;
pub const WINDOW: u8 = 1;
pub const PING: u8 = 2;
pub const GO_AWAY: u8 = 3;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u16,
    pub id: u32,
    pub value: u32,
    pub body: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u16, id: u32, value: u32) -> Self {
        Self { kind, flags, id, value, body: Vec::new() }
    }

    pub fn data(flags: u16, id: u32, body: &[u8]) -> Self {
        Self { kind: DATA, flags, id, value: u32::try_from(body.len()).unwrap(), body: body.to_vec() }
    }

    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0, self.kind];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.value.to_be_bytes());
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        [self.header(), self.body.clone()].concat()
    }
}

/// Takes the first frame off `bytes`.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let header: [u8; 12] = bytes.get(..12)?.try_into().unwrap();
    assert_eq!(header[0], 0, "version");
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let mut frame = Frame::new(header[1], u16::from_be_bytes([header[2], header[3]]), word(4), word(8));
    let length = if frame.kind == DATA { frame.value as usize } else { 0 };
    frame.body = bytes.get(12..12 + length)?.to_vec();
    bytes.drain(..12 + length);
    Some(frame)
}

pub fn all_frames(bytes: &[u8]) -> Vec<Frame> {
    let mut bytes = bytes.to_vec();
    let frames = std::iter::from_fn(|| take_frame(&mut bytes)).collect();
    assert!(bytes.is_empty(), "half a frame at the end");
    frames
}

/// A packet: dRPC stream, message, kind and data.
pub type Plain = (u64, u64, Kind, Vec<u8>);

/// The packets of each stream, up to the first one that cannot be decoded.
pub fn packets(frames: &[Frame]) -> BTreeMap<u32, Vec<Plain>> {
    let mut streams: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for frame in frames.iter().filter(|frame| frame.kind == DATA) {
        streams.entry(frame.id).or_default().extend(&frame.body);
    }
    streams.into_iter().map(|(id, bytes)| (id, packets_of(&bytes))).collect()
}

pub fn packets_of(mut bytes: &[u8]) -> Vec<Plain> {
    let mut decoder = Decoder::default();
    let mut packets = Vec::new();
    while let Ok(Some(packet)) = decoder.decode(&mut bytes) {
        packets.push((packet.stream, packet.message, packet.kind, packet.data));
    }
    packets
}
