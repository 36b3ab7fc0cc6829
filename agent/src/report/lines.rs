use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use protocol::agent_api::{Log, log};
use tokio::time::Instant;
use uuid::Uuid;

/// Level of a line: `Info` is standard output, `Error` is standard error.
pub use log::Level;

/// Bytes that may wait. The server keeps this much of one agent in its lifetime, so more would be refused anyway.
const MAX_BYTES: usize = 1024 * 1024;
/// What a line costs beside its text, as the server counts.
const LINE_OVERHEAD: usize = 21;
/// Bytes of one message: more calls under way than bytes in one, so that states and results are not held up by them.
const BATCH_BYTES: usize = 128 * 1024;
/// How long the first line of a batch waits for others.
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// Lines of all sources on their way to the server.
#[derive(Debug, Default)]
pub(super) struct LineQueue {
    sources: BTreeMap<Uuid, VecDeque<Log>>,
    bytes: usize,
    /// When the oldest line arrived.
    since: Option<Instant>,
    /// Lines of each source that found no room since the last one that did.
    dropped: BTreeMap<Uuid, u64>,
    hurry: bool,
    closed: bool,
}

/// When there is something to send.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    Now(Uuid, Vec<Log>),
    At(Instant),
    Never,
}

impl LineQueue {
    pub(super) fn push(&mut self, source: Uuid, level: Level, line: &[u8], now: Instant) {
        if self.closed {
            return;
        }
        if self.bytes + line.len() + LINE_OVERHEAD > MAX_BYTES {
            *self.dropped.entry(source).or_default() += 1;
            return;
        }
        // The database behind the server takes neither null bytes nor anything but UTF-8.
        let output = String::from_utf8_lossy(line).replace('\0', "\u{fffd}");
        self.bytes += cost(&output);
        self.since.get_or_insert(now);
        let log = Log { created_at: Some(SystemTime::now().into()), output, level: level.into() };
        self.sources.entry(source).or_default().push_back(log);
    }

    pub(super) fn due(&self) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let at = since + BATCH_DELAY;
        if !self.hurry && self.bytes < BATCH_BYTES && Instant::now() < at {
            return Due::At(at);
        }
        match self.sources.first_key_value() {
            Some((source, lines)) => Due::Now(*source, first_of(lines)),
            None => Due::Never,
        }
    }

    pub(super) fn remove(&mut self, source: Uuid, count: usize, now: Instant) {
        if let Some(lines) = self.sources.get_mut(&source) {
            let removed: usize = lines.drain(..count.min(lines.len())).map(|log| cost(&log.output)).sum();
            self.bytes -= removed;
            if lines.is_empty() {
                self.sources.remove(&source);
            }
        }
        if self.sources.is_empty() {
            self.since = None;
        }
        self.tell_dropped(now);
    }

    /// Where lines are missing, the log says so.
    fn tell_dropped(&mut self, now: Instant) {
        if self.bytes > MAX_BYTES / 2 {
            return;
        }
        for (source, count) in std::mem::take(&mut self.dropped) {
            let text = format!("({count} lines were not sent: too many at once; they are in the local log file)");
            self.push(source, Level::Warn, text.as_bytes(), now);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(super) fn hurry(&mut self) {
        self.hurry = true;
    }

    pub(super) fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}

fn cost(text: &str) -> usize {
    text.len() + LINE_OVERHEAD
}

/// At least one, however long it is.
fn first_of(lines: &VecDeque<Log>) -> Vec<Log> {
    let mut bytes = 0;
    let fits = |log: &&Log| {
        let first = bytes == 0;
        bytes += cost(&log.output);
        first || bytes <= BATCH_BYTES
    };
    lines.iter().take_while(fits).cloned().collect()
}
