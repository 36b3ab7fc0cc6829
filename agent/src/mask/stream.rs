use std::fmt;

use zeroize::Zeroizing;

use super::{Masker, REPLACEMENT};

/// One stream of output on its way through a [`Masker`].
///
/// It holds back only what may be the beginning of a value, so never more than the longest form of one.
pub struct MaskedStream {
    masker: Masker,
    held: Zeroizing<Vec<u8>>,
    /// So many of the held bytes belong to a value whose replacement was handed out already.
    covered: usize,
}

// What is held may be the beginning of a value.
impl fmt::Debug for MaskedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedStream").finish_non_exhaustive()
    }
}

impl MaskedStream {
    pub(super) fn new(masker: Masker) -> Self {
        Self { masker, held: Zeroizing::default(), covered: 0 }
    }

    /// Masks by `masker` from here on; what was held back counts as not yet seen.
    pub fn follow(&mut self, masker: &Masker) {
        self.masker = masker.clone();
    }

    /// Takes the next bytes and returns what can be told by now. How the bytes are cut into chunks makes no difference to
    /// the whole.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        self.advance(false)
    }

    /// The end: returns the rest. The beginning of a value that never came to its end is no value.
    pub fn finish(&mut self) -> Vec<u8> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Vec<u8> {
        let scan = self.masker.scan(&self.held, last);
        let mut masked = Vec::with_capacity(scan.decided);
        let mut covered = self.covered;
        for range in &scan.found {
            // Values that overlap get one replacement together, or the end of the second would stay.
            if range.start >= covered {
                masked.extend_from_slice(self.held.get(covered..range.start).unwrap_or_default());
                masked.extend_from_slice(REPLACEMENT.as_bytes());
            }
            covered = covered.max(range.end);
        }
        masked.extend_from_slice(self.held.get(covered..scan.decided).unwrap_or_default());
        self.covered = covered.saturating_sub(scan.decided);
        self.held.drain(..scan.decided);
        masked
    }
}
