//! The text of a whole ledger: a header, then line after line.

use super::Damage;
use super::key::Key;
use super::known::Known;
use super::line::LedgerLine;

const HEADER: &str = "coder-agent ledger";
const VERSION: &str = "1";
/// The size limit of a ledger that is rewritten. The oldest paths go first: the agent never removes a file it does not know.
const MOST_BYTES: usize = 512 * 1024;

/// The first line. Sealed too, so that it tells whether the key is the right one.
pub(super) fn header(key: &Key) -> String {
    format!("{HEADER} {VERSION} {}\n", key.seal(VERSION))
}

/// What a ledger says, and what is wrong with it. Each line is believed by itself, so that damage costs no more than what
/// it hit; and a line can be no more wrong than out of date, which looking at the file then shows.
pub(super) fn parse(content: &[u8], key: &Key) -> (Known, Option<Damage>) {
    let mut known = Known::default();
    // What has no newline was cut short while it was being written, and nothing was done on its account.
    let whole = content.get(..whole(content)).unwrap_or_default();
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n').map(std::str::from_utf8);
    let Some(first) = lines.next() else { return (known, None) };
    let mut damage = first.map_or(Some(Damage::Header), |first| check_header(first, key));
    for (index, line) in lines.enumerate() {
        match line.ok().and_then(|line| LedgerLine::parse(line.trim_end_matches('\n'), key)) {
            Some(line) => known.take(line),
            None => damage = damage.or(Some(Damage::Line(index + 2))),
        }
    }
    (known, damage)
}

fn check_header(first: &str, key: &Key) -> Option<Damage> {
    if first == header(key) {
        return None;
    }
    let version = first.strip_prefix(HEADER).and_then(|rest| rest.split_whitespace().next());
    Some(match version {
        Some(VERSION) => Damage::OtherKey,
        Some(other) => Damage::Version(other.chars().take(20).collect()),
        None => Damage::Header,
    })
}

/// Length of the lines that are whole.
pub(super) fn whole(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
}

/// The text of a rewritten ledger: the newest lines that fit in [`MOST_BYTES`], oldest first.
pub(super) fn text(known: &Known, key: &Key) -> String {
    let mut bytes = 0;
    let mut lines: Vec<String> = known.lines().iter().rev().map(|line| line.to_text(key)).collect();
    let room = lines.iter().take_while(|line| {
        bytes += line.len();
        bytes <= MOST_BYTES
    });
    let room = room.count();
    lines.truncate(room);
    lines.reverse();
    header(key) + &lines.concat()
}

/// Whether a ledger of this length is worth a rewrite.
pub(super) fn is_worn(known: &Known, bytes: usize) -> bool {
    known.is_mostly_outdated() || bytes > 2 * MOST_BYTES
}
