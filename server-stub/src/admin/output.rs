//! Data on standard output: a table for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::AdminError;

/// One line.
pub(super) fn line(text: &str) -> Result<(), AdminError> {
    writeln!(io::stdout(), "{text}").map_err(AdminError::Output)
}

/// JSON, one document.
pub(super) fn json(value: &impl Serialize) -> Result<(), AdminError> {
    let mut out = io::stdout();
    serde_json::to_writer_pretty(&mut out, value)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(AdminError::Output)
}

/// A plain table, as wide as the terminal; without a head it is a list.
pub(super) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), AdminError> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    let cells = |row: Vec<String>| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    table.add_rows(rows.into_iter().map(cells));
    // Without a head the table begins with an empty line.
    line(table.trim_fmt().trim_start_matches('\n'))
}

/// Names and what agents send are shown on an administrator's terminal, which must not obey them.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Lines of which each is [`printable`].
pub(super) fn printable_lines(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

/// A time for people: theirs, to the second.
pub(super) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\u{9b}d\r"), "a\u{fffd}[2Jb\tc\u{fffd}d\u{fffd}");
    }
}
