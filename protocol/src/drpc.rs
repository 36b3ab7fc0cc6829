//! Calls over the streams of a session: storj's dRPC, one call a stream.
//!
//! [`Client`] makes unary calls and reads streams of answers; [`serve`] answers both.

mod answers;
mod bounds;
mod client;
mod codec;
mod reader;
mod server;

pub use answers::{CallError, Streaming};
pub use bounds::Bounds;
pub use client::Client;
pub use codec::{DecodeError, Decoder, Encoder, Kind, MAX_FRAME_DATA, MAX_PACKET, Packet};
pub use server::{Call, Service, Shares, serve, serve_within};

/// Error texts longer than this are cut, on both ends: they end up in log lines.
const MAX_ERROR_TEXT: usize = 4 * 1024;

/// The failure that a server answers a call with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// 0 for a plain error.
    pub code: u64,
    /// What went wrong, in words.
    pub message: String,
}

impl Status {
    /// The one code with a meaning: the server has no such call.
    pub const UNIMPLEMENTED: u64 = 12;

    /// A plain error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 0, message: message.into() }
    }

    /// The answer to a call that is not offered.
    #[must_use]
    pub fn unimplemented() -> Self {
        Self { code: Self::UNIMPLEMENTED, message: "Unimplemented".to_owned() }
    }

    /// Whether the server has no such call. Servers say so with the code or, for an unregistered path, in words.
    #[must_use]
    pub fn is_unimplemented(&self) -> bool {
        let words = ["unknown rpc", "unimplemented"];
        self.code == Self::UNIMPLEMENTED || words.iter().any(|word| self.message.to_ascii_lowercase().contains(word))
    }

    /// The body of an Error packet.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = &self.message[..self.message.floor_char_boundary(MAX_ERROR_TEXT)];
        [&self.code.to_be_bytes(), text.as_bytes()].concat()
    }

    /// Reads the body of an Error packet; one too short for a code is all text.
    #[must_use]
    pub fn from_bytes(body: &[u8]) -> Self {
        let (code, text) = match body.split_first_chunk::<8>() {
            Some((code, text)) => (u64::from_be_bytes(*code), text),
            None => (0, body),
        };
        let text = &text[..text.len().min(MAX_ERROR_TEXT)];
        Self { code, message: String::from_utf8_lossy(text).into_owned() }
    }
}
