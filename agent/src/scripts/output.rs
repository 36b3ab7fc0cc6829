use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::warn;
use uuid::Uuid;

use super::MaskedOutput;
use crate::report::{Level, Reporter};

/// What is read at once.
const CHUNK: usize = 8 * 1024;
/// A longer line is sent in pieces: the queue to the server and the server itself count lines against a limit.
const MAX_LINE: usize = 16 * 1024;

/// Where the output of one script goes, both of its streams together.
#[derive(Debug)]
pub(super) struct ScriptOutput {
    /// `None` where it could not be opened, or the disk took no more.
    file: Mutex<Option<File>>,
    reporter: Reporter,
    source: Uuid,
}

impl ScriptOutput {
    pub(super) fn new(file: Option<File>, reporter: Reporter, source: Uuid) -> Self {
        Self { file: Mutex::new(file), reporter, source }
    }

    /// A line of the agent's own about the script, in both logs.
    pub(super) fn note(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
        self.reporter.line(self.source, Level::Error, text.as_bytes());
    }

    /// Reads a stream to its end. What leaves this function is masked.
    pub(super) async fn pump(&self, mut stream: impl AsyncRead + Unpin, level: Level, mut mask: Option<MaskedOutput>) {
        let mut chunk = vec![0; CHUNK];
        let mut lines = Lines::default();
        loop {
            // A read error of a pipe is its end.
            let read = stream.read(&mut chunk).await.unwrap_or(0);
            let masked = match &mut mask {
                Some(mask) if read == 0 => mask.finish(),
                Some(mask) => mask.push(&chunk[..read]),
                // Read on all the same, or the script would stop at a full pipe.
                None => Vec::new(),
            };
            self.write(&masked);
            lines.push(&masked, |line| self.reporter.line(self.source, level, line));
            if read == 0 {
                break;
            }
        }
        lines.finish(|line| self.reporter.line(self.source, level, line));
    }

    fn write(&self, bytes: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.as_mut().map(|file| file.write_all(bytes));
        if let Some(Err(error)) = written {
            warn!(source = %self.source, %error, "cannot write a script log any more");
            *file = None;
        }
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    /// The line that has no end yet.
    open: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            for part in text.chunks(MAX_LINE) {
                if self.open.len() + part.len() > MAX_LINE {
                    emit(&std::mem::take(&mut self.open));
                }
                self.open.extend_from_slice(part);
            }
            if ends {
                emit(self.open.strip_suffix(b"\r").unwrap_or(&self.open));
                self.open.clear();
            }
        }
    }

    fn finish(self, mut emit: impl FnMut(&[u8])) {
        if !self.open.is_empty() {
            emit(&self.open);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.push(chunk, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.finish(|line| seen.push(String::from_utf8_lossy(line).into_owned()));
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_stream_is_cut() {
        assert_eq!(lines(&[b"one\ntwo\r\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(lines(&[b"o", b"ne", b"\n", b"two\r", b"\n\nla", b"st"]), ["one", "two", "", "last"]);
        assert_eq!(lines(&[b"one\n"]), ["one"]);
        assert!(lines(&[b"", b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_bounded_and_nothing_of_it_is_lost() {
        let long = vec![b'x'; 3 * MAX_LINE + 5];
        let seen = lines(&[&long[..MAX_LINE + 7], &long[MAX_LINE + 7..]]);
        assert!(seen.iter().all(|line| line.len() <= MAX_LINE && !line.is_empty()));
        assert_eq!(seen.concat().len(), long.len());
    }
}
