//! Packets from the reading half of a stream.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::codec::{DecodeError, Decoder, MAX_FRAME_DATA, Packet};

/// Small, because a stream may stay open and silent for days.
const BUFFER: usize = 4 * 1024;

/// Why no packet came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("cannot read the stream")]
    Io(#[source] io::Error),
}

pub(super) struct PacketReader<R> {
    reader: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are not decoded yet.
    start: usize,
    large: Option<LargePackets>,
}

/// Lets only a few packets of one session be large at a time: each may take [`MAX_PACKET`](super::MAX_PACKET) bytes, and
/// one peer may have hundreds of streams. A peer that fills all the places only holds up itself.
struct LargePackets {
    places: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, decoder: Decoder::default(), buffer: Vec::new(), start: 0, large: None }
    }

    /// A reader that waits for one of `places` before it takes in a large packet.
    pub(super) fn sharing(reader: R, places: Arc<Semaphore>) -> Self {
        Self { large: Some(LargePackets { places, taken: None }), ..Self::new(reader) }
    }

    /// The next packet; `None` when the peer has sent its FIN. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Packet>, ReadError> {
        loop {
            let mut input = &self.buffer[self.start..];
            let packet = self.decoder.decode(&mut input)?;
            self.start = self.buffer.len() - input.len();
            if packet.is_some() {
                return Ok(packet);
            }
            if self.decoder.held() > MAX_FRAME_DATA {
                self.take_place().await;
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The place of the packet that was read last, for whoever holds that packet now.
    pub(super) fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        self.large.as_mut().and_then(|large| large.taken.take())
    }

    /// What was read of a large packet is not held any more.
    pub(super) fn release(&mut self) {
        if let Some(large) = &mut self.large {
            large.taken = None;
        }
    }

    /// Reads and throws away until the peer's FIN.
    pub(super) async fn drain(&mut self) -> Result<(), ReadError> {
        self.decoder = Decoder::default();
        self.release();
        while self.fill().await? > 0 {}
        Ok(())
    }

    async fn fill(&mut self) -> Result<usize, ReadError> {
        self.start = 0;
        self.buffer.clear();
        self.buffer.reserve(BUFFER);
        self.reader.read_buf(&mut self.buffer).await.map_err(ReadError::Io)
    }

    async fn take_place(&mut self) {
        if let Some(large) = &mut self.large
            && large.taken.is_none()
        {
            large.taken = large.places.clone().acquire_owned().await.ok();
        }
    }
}
