//! Frames and packets. No input or output here: bytes in, packets out, and the reverse.

/// The most data a frame that we send carries; longer packets are split.
pub const MAX_FRAME_DATA: usize = 64 * 1024;
/// The longest packet that either end accepts.
pub const MAX_PACKET: usize = 4 << 20;
/// First byte and three varints.
const MAX_HEADER: usize = 1 + 3 * MAX_VARINT;
const MAX_VARINT: usize = 10;

const CONTROL: u8 = 0x80;
const DONE: u8 = 0x01;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Begins a call; the data is its path.
    Invoke = 1,
    /// A protobuf message.
    Message = 2,
    /// The call failed; the data is a [`Status`](super::Status).
    Error = 3,
    /// The caller gave up.
    Cancel = 4,
    /// The sender is done with the call.
    Close = 5,
    /// The sender has no more messages.
    CloseSend = 6,
    /// Comes before Invoke, with trace context that we do not use.
    InvokeMetadata = 7,
}

impl Kind {
    fn from_bits(bits: u8) -> Option<Self> {
        [Self::Invoke, Self::Message, Self::Error, Self::Cancel, Self::Close, Self::CloseSend, Self::InvokeMetadata]
            .into_iter()
            .find(|kind| *kind as u8 == bits)
    }
}

/// A whole packet. It may be a secret's: no Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// The call within its stream, from 1 on.
    pub stream: u64,
    /// The sender's number for the packet within the call, from 1 on.
    pub message: u64,
    /// What it is for.
    pub kind: Kind,
    /// Its content.
    pub data: Vec<u8>,
}

/// The peer broke the framing; nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than ten bytes, or more than 64 bits.
    #[error("varint too long")]
    Varint,
    /// A number below the last one.
    #[error("id monotonicity violation")]
    IdOrder,
    /// Frames of one packet differ in kind.
    #[error("packet kind change")]
    KindChange,
    /// A kind we do not know, without the bit that says it may be ignored.
    #[error("unknown packet kind {0}")]
    UnknownKind(u8),
    /// Longer than [`MAX_PACKET`].
    #[error("data overflow: packet over {MAX_PACKET} bytes")]
    TooLarge,
}

/// Turns the bytes of one stream into packets, however they are cut.
#[derive(Default)]
pub struct Decoder {
    header: Vec<u8>,
    frame: Option<Frame>,
    packet: Option<Partial>,
    /// The least id that may come next.
    least: (u64, u64),
}

struct Frame {
    done: bool,
    remaining: usize,
}

struct Partial {
    id: (u64, u64),
    /// With the control bit; all frames of a packet have the same.
    kind_bits: u8,
    data: Vec<u8>,
}

struct Header {
    bits: u8,
    id: (u64, u64),
    length: u64,
}

impl Decoder {
    /// Consumes `input` up to the end of one packet; `None` when it wants more.
    ///
    /// After an error the stream is of no more use.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, DecodeError> {
        loop {
            let Some(frame) = &mut self.frame else {
                match self.take_header(input)? {
                    Some(header) => self.begin_frame(&header)?,
                    None => return Ok(None),
                }
                continue;
            };
            let (data, rest) = input.split_at(frame.remaining.min(input.len()));
            *input = rest;
            frame.remaining -= data.len();
            let (done, complete) = (frame.done, frame.remaining == 0);
            if let Some(packet) = &mut self.packet {
                packet.data.extend_from_slice(data);
            }
            if !complete {
                return Ok(None);
            }
            self.frame = None;
            if done && let Some(packet) = self.end_packet()? {
                return Ok(Some(packet));
            }
        }
    }

    /// How much of an unfinished packet is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.packet.as_ref().map_or(0, |packet| packet.data.len())
    }

    fn take_header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, DecodeError> {
        // Byte by byte, because only the bytes themselves tell where a header ends. It has 31 at most.
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.header.push(byte);
            if let Some(header) = parse_header(&self.header)? {
                self.header.clear();
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn begin_frame(&mut self, header: &Header) -> Result<(), DecodeError> {
        if header.id < self.least {
            return Err(DecodeError::IdOrder);
        }
        let kind_bits = header.bits & !DONE;
        self.least = header.id;
        // A higher id before the last frame of a packet gives that packet up.
        if self.packet.as_ref().is_none_or(|packet| packet.id != header.id) {
            self.packet = Some(Partial { id: header.id, kind_bits, data: Vec::new() });
        }
        let Some(packet) = &self.packet else { return Ok(()) };
        if packet.kind_bits != kind_bits {
            return Err(DecodeError::KindChange);
        }
        let remaining = usize::try_from(header.length).map_err(|_| DecodeError::TooLarge)?;
        // Checked before any of it is held, and never reserved: the length is only a claim.
        if remaining > MAX_PACKET - packet.data.len() {
            return Err(DecodeError::TooLarge);
        }
        self.frame = Some(Frame { done: header.bits & DONE != 0, remaining });
        Ok(())
    }

    fn end_packet(&mut self) -> Result<Option<Packet>, DecodeError> {
        let Some(Partial { id, kind_bits, data }) = self.packet.take() else { return Ok(None) };
        self.least = (id.0, id.1.saturating_add(1));
        let bits = (kind_bits & !CONTROL) >> 1;
        match Kind::from_bits(bits) {
            Some(kind) => Ok(Some(Packet { stream: id.0, message: id.1, kind, data })),
            None if kind_bits & CONTROL != 0 => Ok(None),
            None => Err(DecodeError::UnknownKind(bits)),
        }
    }
}

fn parse_header(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    debug_assert!(bytes.len() <= MAX_HEADER, "a header ends at its third varint");
    let Some((&bits, mut rest)) = bytes.split_first() else { return Ok(None) };
    let mut numbers = [0; 3];
    for number in &mut numbers {
        match take_varint(&mut rest)? {
            Some(value) => *number = value,
            None => return Ok(None),
        }
    }
    let [stream, message, length] = numbers;
    Ok(Some(Header { bits, id: (stream, message), length }))
}

fn take_varint(bytes: &mut &[u8]) -> Result<Option<u64>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == MAX_VARINT - 1 && byte > 1 {
            return Err(DecodeError::Varint);
        }
        value |= part << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Numbers and frames the packets that one side sends for one call.
pub struct Encoder {
    stream: u64,
    message: u64,
}

impl Encoder {
    /// For the call `stream` of its stream.
    #[must_use]
    pub fn new(stream: u64) -> Self {
        Self { stream, message: 0 }
    }

    /// Appends a packet to `out`.
    pub fn packet(&mut self, kind: Kind, data: &[u8], out: &mut Vec<u8>) {
        self.message += 1;
        let frames = data.len().div_ceil(MAX_FRAME_DATA).max(1);
        out.reserve(data.len() + frames * MAX_HEADER);
        for index in 0..frames {
            let start = index * MAX_FRAME_DATA;
            let part = &data[start..data.len().min(start + MAX_FRAME_DATA)];
            out.push((kind as u8) << 1 | u8::from(index + 1 == frames));
            put_varint(self.stream, out);
            put_varint(self.message, out);
            put_varint(part.len() as u64, out);
            out.extend_from_slice(part);
        }
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits are wanted")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the loop left seven bits")]
    out.push(value as u8);
}
