use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
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
    sources: BTreeMap<Uuid, Queue>,
    bytes: usize,
    /// Whose lines went out last: the next source in the order of ids is next, so that none waits behind one that never
    /// ends.
    last: Option<Uuid>,
    /// Lines that are on their way to the server, and stay in front of their source's until they are acknowledged.
    in_flight: Option<(Uuid, usize)>,
    /// When the oldest line arrived.
    since: Option<Instant>,
    /// Lines of each source that found no room since the last one that did.
    dropped: BTreeMap<Uuid, u64>,
    hurry: bool,
    closed: bool,
}

/// Lines of one source.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Log>,
    bytes: usize,
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
        if !self.make_room(source, line.len() + LINE_OVERHEAD) {
            *self.dropped.entry(source).or_default() += 1;
            return;
        }
        // The database behind the server takes neither null bytes nor anything but UTF-8.
        let output = String::from_utf8_lossy(line).replace('\0', "\u{fffd}");
        let queue = self.sources.entry(source).or_default();
        queue.bytes += cost(&output);
        self.bytes += cost(&output);
        self.since.get_or_insert(now);
        queue.lines.push_back(Log { created_at: Some(SystemTime::now().into()), output, level: level.into() });
    }

    /// Makes room for a line of `source`, from its end of the longest queue: a script that floods its log loses its own
    /// lines, and not those of others.
    fn make_room(&mut self, source: Uuid, needed: usize) -> bool {
        while self.bytes + needed > MAX_BYTES {
            let own = self.sources.get(&source).map_or(0, |queue| queue.bytes) + needed;
            let longest = self.sources.iter_mut().max_by_key(|(_, queue)| queue.bytes);
            let Some((id, queue)) = longest.filter(|(_, queue)| queue.bytes > own) else { return false };
            let in_flight = self.in_flight.filter(|(flying, _)| flying == id).map_or(0, |(_, count)| count);
            let Some(log) = (queue.lines.len() > in_flight).then(|| queue.lines.pop_back()).flatten() else {
                return false;
            };
            let freed = cost(&log.output);
            queue.bytes -= freed;
            self.bytes -= freed;
            *self.dropped.entry(*id).or_default() += 1;
        }
        true
    }

    pub(super) fn due(&mut self) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let at = since + BATCH_DELAY;
        if !self.hurry && self.bytes < BATCH_BYTES && Instant::now() < at {
            return Due::At(at);
        }
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.sources.range((after, Bound::Unbounded)).next().or_else(|| self.sources.first_key_value());
        let Some((source, queue)) = next else { return Due::Never };
        let (source, lines) = (*source, first_of(&queue.lines));
        self.in_flight = Some((source, lines.len()));
        Due::Now(source, lines)
    }

    pub(super) fn remove(&mut self, source: Uuid, count: usize, now: Instant) {
        (self.last, self.in_flight) = (Some(source), None);
        if let Some(queue) = self.sources.get_mut(&source) {
            let gone = queue.lines.drain(..count.min(queue.lines.len()));
            let removed: usize = gone.map(|log| cost(&log.output)).sum();
            queue.bytes -= removed;
            self.bytes -= removed;
            if queue.lines.is_empty() {
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
