use protocol::secret::Secret;

use super::SHORTEST;
use crate::sys::memory::{self, Guarded};

/// Bits of the filter for each pattern: of the positions where nothing begins, one in so many is looked at twice.
const SPARSENESS: usize = 64;

/// Every form of every value, in guarded memory: an automaton would be several times as fast, and hold them all on the heap.
pub(super) struct Patterns {
    /// Each once.
    sorted: Vec<Guarded>,
    /// A bit is set where the first bytes of a pattern hash to it. As secret as they are.
    filter: Guarded,
}

/// What begins at one position of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// No pattern.
    Nothing,
    /// A pattern of so many bytes, the longest.
    Pattern(usize),
    /// More bytes may make it a pattern, or a longer one.
    Undecided,
}

impl Patterns {
    /// Every one of `patterns` is at least [`SHORTEST`] bytes long.
    pub(super) fn new(mut patterns: Vec<Secret>) -> std::io::Result<Self> {
        patterns.sort_unstable_by(|a, b| a.expose().cmp(b.expose()));
        patterns.dedup_by(|a, b| a.expose() == b.expose());
        let bits = (patterns.len() * SPARSENESS).next_power_of_two().max(64);
        let mut filter = memory::wiped_buffer(bits / 8);
        for window in patterns.iter().filter_map(|pattern| pattern.expose().first_chunk()) {
            let bit = hash(*window, bits);
            if let Some(byte) = filter.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        patterns.push(Secret::new(std::mem::take(&mut *filter)));
        let mut sorted = memory::guard(patterns)?;
        let filter = sorted.pop().ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self { sorted, filter })
    }

    /// The first position of `text`, not before `from`, where [`Patterns::at`] need look. All of a scan's time is here.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<usize> {
        let filter = self.filter.expose();
        let may_begin = |window: &[u8]| {
            let bit = window.first_chunk().map_or(0, |window| hash(*window, filter.len() * 8));
            filter.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        };
        let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
        // What more bytes may make a window is not told by the filter.
        let undecided = (rest.len() + 1).saturating_sub(SHORTEST);
        Some(from + rest.windows(SHORTEST).position(may_begin).unwrap_or(undecided))
    }

    /// What begins where `rest` does, of which more may follow unless it is the `last`.
    pub(super) fn at(&self, rest: &[u8], last: bool) -> Begins {
        let above = self.not_above(rest);
        if !last && self.sorted.get(above).is_some_and(|pattern| pattern.expose().starts_with(rest)) {
            return Begins::Undecided;
        }
        self.longest_beginning(rest).map_or(Begins::Nothing, Begins::Pattern)
    }

    /// Of the patterns that `text` begins with, the length of the longest.
    fn longest_beginning(&self, mut text: &[u8]) -> Option<usize> {
        while text.len() >= SHORTEST {
            let nearest = self.sorted.get(self.not_above(text).checked_sub(1)?)?.expose();
            let common = nearest.iter().zip(text).take_while(|(a, b)| a == b).count();
            if common == nearest.len() {
                return Some(common);
            }
            // Whatever `text` begins with sorts before the nearest, so it ends before the two differ.
            text = text.get(..common)?;
        }
        None
    }

    /// The number of patterns that sort before `text`, itself included.
    fn not_above(&self, text: &[u8]) -> usize {
        self.sorted.partition_point(|pattern| pattern.expose() <= text)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.sorted.iter().map(Guarded::expose)
    }
}

/// To a number below `bits`, a power of two, by the upper bits of a product (Fibonacci hashing).
fn hash(window: [u8; SHORTEST], bits: usize) -> usize {
    // Two loads; a loop over the bytes costs more than all the rest of a scan.
    let [low @ .., e, f] = window;
    let number = u64::from(u32::from_le_bytes(low)) | u64::from(u16::from_le_bytes([e, f])) << 32;
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(product >> 32).unwrap_or_default() & (bits - 1)
}
