//! How numbers, bytes and lists are written one after the other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use protocol::secret::Secret;
use zeroize::Zeroizing;

use super::Malformed;

/// First byte of every frame. An agent that was not restarted after an upgrade is told apart by it.
pub(super) const VERSION: u8 = 1;
/// Bytes of the length before each frame.
pub(in crate::sessions) const LENGTH_BYTES: usize = 4;

pub(super) type Buffer = Zeroizing<Vec<u8>>;

pub(super) struct Writer(Buffer);

impl Writer {
    /// The length comes first and is known last.
    pub(super) fn new() -> Self {
        let mut frame = Buffer::default();
        frame.extend_from_slice(&[0; LENGTH_BYTES]);
        frame.push(VERSION);
        Self(frame)
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(flag.into());
    }

    /// What does not fit into 32 bits does not fit into [`super::MAX_FRAME`] either, and is refused by whoever reads it.
    pub(super) fn count(&mut self, count: usize) {
        self.number(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn number(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.0.extend_from_slice(&u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn done(mut self) -> Buffer {
        let length = u32::try_from(self.0.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        if let Some(place) = self.0.first_chunk_mut() {
            *place = length.to_le_bytes();
        }
        self.0
    }
}

pub(super) struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    pub(super) fn new(frame: &'f [u8]) -> Result<Self, Malformed> {
        match frame.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            _ => Err(Malformed::Version),
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'f [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Frame)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Frame)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Frame),
        }
    }

    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed::Frame)
    }

    pub(super) fn number(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn duration(&mut self) -> Result<Duration, Malformed> {
        Ok(Duration::from_millis(u64::from_le_bytes(self.array()?)))
    }

    pub(super) fn bytes(&mut self) -> Result<&'f [u8], Malformed> {
        let count = self.count()?;
        self.take(count)
    }

    pub(super) fn os_string(&mut self) -> Result<OsString, Malformed> {
        Ok(OsStr::from_bytes(self.bytes()?).to_owned())
    }

    pub(super) fn secret(&mut self) -> Result<Secret, Malformed> {
        Ok(Secret::new(self.bytes()?.to_vec()))
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed::Frame)
    }

    /// Grows with what is really there, whatever count the frame claims.
    pub(super) fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.count()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Frame) }
    }
}
