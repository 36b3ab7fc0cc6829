//! Words of a server in our messages.

use std::fmt;

/// More of a server's words than this helps nobody, and a hostile server must not fill the log.
const MAX_DETAIL: usize = 500;

/// Words of a server, safe for a terminal and a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

/// Words of a server behind our own; nothing if it said nothing.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
