//! Keeps values out of what scripts print, before it is logged here or sent anywhere. A courtesy, not a boundary: what
//! encrypts, reverses or splits a value is not caught.
#![forbid(unsafe_code)]

mod encodings;
mod patterns;
mod quoting;
mod stream;

pub use stream::MaskedStream;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use protocol::secret::Secret;

use patterns::{Begins, Patterns};

/// What stands in the place of a value, however long it is.
pub const REPLACEMENT: &str = "********";

/// Values and lines of values shorter than this are not masked: they would blank out half of every output.
pub const SHORTEST: usize = 6;

/// Finds every form of a set of values. Clones share it.
#[derive(Clone)]
pub struct Masker(Arc<Patterns>);

/// Why values cannot be masked.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the masking of values")]
pub struct MaskError {
    #[from]
    source: io::Error,
}

/// What is known about a stretch of bytes.
struct Scan {
    /// Where values are, in order of their start; they may overlap.
    found: Vec<Range<usize>>,
    /// From here on more bytes may decide otherwise.
    decided: usize,
}

impl Masker {
    /// A masker for `values`, each with the name to speak of it. Also returns, each once, the names of those that are not
    /// masked, whole or in part, because they are too short.
    pub fn new(values: &[(String, Secret)]) -> Result<(Self, Vec<String>), MaskError> {
        let mut patterns = Vec::new();
        let mut too_short: Vec<String> = Vec::new();
        for (name, value) in values {
            let complete = encodings::of(value.expose(), &mut patterns);
            if !complete && !too_short.contains(name) {
                too_short.push(name.clone());
            }
        }
        Ok((Self(Arc::new(Patterns::new(patterns)?)), too_short))
    }

    /// Masks one stream of output, in chunks as they come.
    #[must_use]
    pub fn stream(&self) -> MaskedStream {
        MaskedStream::new(self.clone())
    }

    /// Masks bytes that are complete in themselves.
    #[must_use]
    pub fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut masked = stream.push(bytes);
        masked.extend_from_slice(&stream.finish());
        masked
    }

    /// Masks a line and only then cuts it to at most `limit` bytes, between characters: the other way round, the first
    /// half of a value would stay.
    #[must_use]
    pub fn mask_line(&self, line: &[u8], limit: usize) -> String {
        let mut text = String::from_utf8_lossy(&self.mask(line)).into_owned();
        text.truncate(text.floor_char_boundary(limit));
        text
    }

    /// Looks for values in `bytes`, of which more may follow unless they are the `last`.
    fn scan(&self, bytes: &[u8], last: bool) -> Scan {
        let (mut found, mut from) = (Vec::new(), 0);
        while let Some(start) = self.0.next(bytes, from) {
            match self.0.at(bytes.get(start..).unwrap_or_default(), last) {
                Begins::Nothing => {}
                Begins::Pattern(len) => found.push(start..start + len),
                Begins::Undecided => return Scan { found, decided: start },
            }
            from = start + 1;
        }
        Scan { found, decided: bytes.len() }
    }
}

// It has the values.
impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
