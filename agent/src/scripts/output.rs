use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::warn;
use uuid::Uuid;

use super::MaskedOutput;
use crate::report::{Level, Reporter};
use crate::sys::write_behind::WriteBehind;

/// What is read at once.
const CHUNK: usize = 8 * 1024;
/// A longer line is sent in pieces: the queue to the server and the server itself count lines against a limit.
const MAX_LINE: usize = 16 * 1024;

/// Bytes of output that wait for the disk.
const WAITING: usize = 1024 * 1024;
/// Where the disk makes no room for that long, what comes meanwhile is left out: a script must not hang with it.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// Where the output of one script goes, both of its streams together.
#[derive(Debug)]
pub(super) struct ScriptOutput {
    /// `None` where it could not be opened.
    file: Option<WriteBehind>,
    reporter: Reporter,
    source: Uuid,
}

impl ScriptOutput {
    pub(super) fn new(file: Option<File>, reporter: Reporter, source: Uuid) -> Self {
        let gap = |bytes| format!("({bytes} bytes are missing here: they could not be written in time)\n");
        let file = file.map(|file| WriteBehind::new(Box::new(LogFile { file: Some(file), source }), WAITING, gap));
        Self { file, reporter, source }
    }

    /// A line of the agent's own about the script, in both logs.
    pub(super) fn note(&self, text: &str) {
        if let Some(file) = &self.file {
            file.push(format!("{text}\n").into_bytes());
        }
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
            lines.push(&masked, |line| self.reporter.line(self.source, level, line));
            if let Some(file) = self.file.as_ref().filter(|_| !masked.is_empty()) {
                file.push_patiently(masked, DISK_PATIENCE).await;
            }
            if read == 0 {
                break;
            }
        }
        lines.finish(|line| self.reporter.line(self.source, level, line));
    }

    /// Waits until the log file has everything. The caller bounds the wait.
    pub(super) async fn settled(&self) {
        if let Some(file) = &self.file {
            file.settled().await;
        }
    }
}

/// A log file that is given up with its first error.
struct LogFile {
    file: Option<File>,
    source: Uuid,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.as_mut().map(|file| file.write(bytes)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::Interrupted => {
                warn!(source = %self.source, %error, "cannot write a script log any more");
                self.file = None;
                Ok(bytes.len())
            }
            Some(written) => written,
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
