//! Keeps values out of what scripts print, before it is logged here or sent anywhere. A courtesy, not a boundary: what
//! encrypts, reverses or splits a value is not caught.
#![forbid(unsafe_code)]

mod forms;
mod stream;

pub use stream::MaskedStream;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use protocol::secret::Secret;

/// What stands in the place of a value, however long it is.
pub const REPLACEMENT: &str = "********";

/// Values and lines of values shorter than this are not masked: they would blank out half of every output.
pub const SHORTEST: usize = 6;

/// As much of each pattern goes into the automaton, which takes many bytes for each of theirs; the rest is compared.
const HEAD: usize = 32;

/// Finds every form of a set of values. Clones share it.
#[derive(Clone)]
pub struct Masker(Arc<Patterns>);

/// Why values cannot be masked.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the masking of values")]
pub struct MaskError {
    #[from]
    source: BuildError,
}

struct Patterns {
    heads: AhoCorasick,
    /// One for each head, in the order of the automaton: sorted by head.
    groups: Vec<Group>,
}

/// The patterns with one beginning.
struct Group {
    head: Secret,
    /// Longest first.
    patterns: Vec<Secret>,
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
            let complete = forms::of(value.expose(), &mut patterns);
            if !complete && !too_short.contains(name) {
                too_short.push(name.clone());
            }
        }
        let groups = group(patterns);
        let heads = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(groups.iter().map(|group| group.head.expose()))?;
        Ok((Self(Arc::new(Patterns { heads, groups })), too_short))
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
        let mut found = Vec::new();
        let mut decided = if last { bytes.len() } else { self.0.start_of_possible_head(bytes) };
        for head in self.0.heads.find_overlapping_iter(bytes) {
            let rest = bytes.get(head.start()..).unwrap_or_default();
            let Some(group) = self.0.groups.get(head.pattern().as_usize()) else { continue };
            for pattern in group.patterns.iter().map(Secret::expose) {
                if rest.starts_with(pattern) {
                    found.push(head.start()..head.start() + pattern.len());
                    break;
                }
                if !last && pattern.starts_with(rest) {
                    decided = decided.min(head.start());
                    break;
                }
            }
        }
        found.sort_unstable_by_key(|range| range.start);
        Scan { found, decided }
    }
}

// The automaton would print its transitions, from which the values can be put together.
impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

impl Patterns {
    /// The first position from which all that is left is the beginning of a head.
    fn start_of_possible_head(&self, bytes: &[u8]) -> usize {
        let first = bytes.len().saturating_sub(HEAD - 1);
        let begins_a_head = |start: &usize| {
            let tail = bytes.get(*start..).unwrap_or_default();
            let next = self.groups.partition_point(|group| group.head.expose() < tail);
            self.groups.get(next).is_some_and(|group| group.head.expose().starts_with(tail))
        };
        (first..bytes.len()).find(begins_a_head).unwrap_or(bytes.len())
    }
}

fn group(mut patterns: Vec<Secret>) -> Vec<Group> {
    let head = |pattern: &Secret| pattern.expose().iter().take(HEAD).copied().collect::<Vec<_>>();
    patterns.sort_unstable_by(|a, b| a.expose().cmp(b.expose()));
    patterns.dedup_by(|a, b| a.expose() == b.expose());
    let mut groups: Vec<Group> = Vec::new();
    for pattern in patterns {
        let start = head(&pattern);
        match groups.last_mut().filter(|group| group.head.expose() == start) {
            // Sorted, so that of two with the same head the longer comes later unless it differs before its end.
            Some(group) => group.patterns.push(pattern),
            None => groups.push(Group { head: Secret::new(start), patterns: vec![pattern] }),
        }
    }
    for group in &mut groups {
        group.patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    }
    groups
}

#[cfg(test)]
mod tests;
