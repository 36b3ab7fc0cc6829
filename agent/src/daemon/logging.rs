use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::OFlags;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterFn, ParseError, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::sys::fs::may_be_led_astray;
use crate::sys::write_behind::WriteBehind;

/// Not the name that Coder's own agent uses: both may run in one workspace, with one `CODER_AGENT_LOG_DIR`.
pub(super) const FILE_NAME: &str = "coder-secrets-agent.log";
/// Of one file, as of Coder's agent.
const MAX_BYTES: u64 = 5 * 1024 * 1024;
/// Full files kept beside the current one.
const KEPT: usize = 3;
/// Bytes of lines that wait for a disk or a pipe.
const WAITING: usize = 256 * 1024;
/// How long the end of the agent waits for its last lines to be written.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Where lines go, for [`flush`].
static TARGETS: OnceLock<[Lines; 2]> = OnceLock::new();

/// What stands in the way of the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("CODER_AGENT_LOG is not a level or a list such as agent=debug,info")]
    Levels,
}

/// Sends what the agent says to standard error and to its log file. `quiet`: warnings only on standard error, because
/// that belongs to the main process. Neither can hold up the agent: what a disk or a pipe does not take in time is left
/// out, and counted.
pub(super) fn init(log_dir: &Path, levels: Option<&str>, quiet: bool) -> Result<(), LogError> {
    let chosen: Option<Targets> = levels.map(parse_levels).transpose()?;
    let here = match &chosen {
        Some(targets) => targets.clone(),
        None => Targets::new().with_default(if quiet { LevelFilter::WARN } else { LevelFilter::INFO }),
    };
    let everything = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let terminal = io::stderr().is_terminal();
    let [stderr, file] = TARGETS.get_or_init(|| {
        [Lines::to(io::stderr()), Lines::to(LogFile { path: log_dir.join(FILE_NAME), state: State::Closed })]
    });
    let stderr = fmt::layer().with_writer(stderr.clone()).with_ansi(terminal).with_filter(ours()).with_filter(here);
    let file = fmt::layer().with_writer(file.clone()).with_ansi(false).with_filter(ours()).with_filter(everything);
    tracing_subscriber::registry().with(stderr).with(file).init();
    Ok(())
}

/// Waits a moment until what was said is written.
pub(super) fn flush() {
    for lines in TARGETS.get().into_iter().flatten() {
        lines.0.settle_within(FLUSH_LIMIT);
    }
}

/// Lines on their way to one place.
#[derive(Clone)]
struct Lines(WriteBehind);

impl Lines {
    fn to(sink: impl Write + Send + 'static) -> Self {
        let gap = |bytes| format!("({bytes} bytes are missing here: they could not be written in time)\n");
        Self(WriteBehind::new(Box::new(sink), WAITING, gap))
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> &'w Self {
        self
    }
}

impl Write for &Lines {
    /// A whole line, as tracing writes it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse_levels(text: &str) -> Result<Targets, LogError> {
    // A word that is no level would silently be taken for the name of a module.
    let unknown = |part: &str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    if text.split(',').any(unknown) {
        return Err(LogError::Levels);
    }
    text.parse().map_err(|_: ParseError| LogError::Levels)
}

/// Transport crates print what they carry at debug and trace, and that is secrets: they stop at info whatever is asked
/// for. (Records of the `log` crate are not collected at all.)
fn ours() -> FilterFn {
    filter_fn(|metadata| {
        let target = metadata.target();
        let crate_name = target.split("::").next().unwrap_or(target);
        matches!(crate_name, "agent" | "coder" | "protocol") || *metadata.level() <= tracing::Level::INFO
    })
}

/// A log file that moves on to a fresh one when it is full. It is opened with its first line, on the thread that writes.
struct LogFile {
    path: PathBuf,
    state: State,
}

enum State {
    Closed,
    Open { file: File, length: u64 },
    Failed,
}

impl LogFile {
    fn open(&self) -> io::Result<State> {
        if let Some(parent) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = open(&self.path)?;
        let length = file.metadata()?.len();
        Ok(State::Open { file, length })
    }

    fn rotate(&self) -> io::Result<File> {
        let numbered = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..KEPT).rev() {
            let _ = std::fs::rename(numbered(number), numbered(number + 1));
        }
        std::fs::rename(&self.path, numbered(1))?;
        open(&self.path)
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if matches!(self.state, State::Closed) {
            self.state = self.open().unwrap_or_else(|error| {
                let path = self.path.display();
                tracing::warn!("cannot write the log file {path}: {error}; logging to standard error only");
                State::Failed
            });
        }
        if matches!(self.state, State::Open { length: MAX_BYTES.., .. })
            && let Ok(file) = self.rotate()
        {
            self.state = State::Open { file, length: 0 };
        }
        // Where the directory does not let us rotate, the file stays what it is until the next line tries again.
        match &mut self.state {
            State::Open { file, length } => {
                let written = file.write(bytes)?;
                *length += written as u64;
                Ok(written)
            }
            State::Closed | State::Failed => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The directory may be one that everybody can write to: no link is followed, and no file of another user is taken.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    if may_be_led_astray(&file, path)? {
        let reason = "it has several names, and others can write to its directory";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    fn log(path: &Path) -> LogFile {
        LogFile { path: path.to_owned(), state: State::Closed }
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_a_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs").join(FILE_NAME);
        let mut file = log(&path);
        let line = vec![b'x'; usize::try_from(MAX_BYTES).unwrap()];
        for _ in 0..6 {
            file.write_all(&line).unwrap();
        }
        file.write_all(b"last\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"last\n");
        let count = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(count, 1 + KEPT);
        drop(file);
        log(&path).write_all(b"restart\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"last\nrestart\n");
    }

    #[test]
    fn levels_are_a_word_or_a_list_and_typos_are_told() {
        for good in ["trace", "WARN", "off", "agent=debug,info", "info,agent::control=trace"] {
            assert!(parse_levels(good).is_ok(), "{good}");
        }
        for bad in ["lots", "agent=lots", "debgu,agent=info"] {
            assert!(parse_levels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn transport_crates_are_not_heard_below_info() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines = Lines::to(log(&path));
        let layer = fmt::layer().with_writer(lines.clone()).with_filter(ours());
        with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "agent::control", "ours");
            tracing::debug!(target: "hyper::proto", "theirs at debug");
            tracing::trace!(target: "agentless", "theirs at trace");
            tracing::info!(target: "rustls", "theirs at info");
        });
        lines.0.settle_within(Duration::from_secs(20));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("ours") && text.contains("theirs at info"), "{text}");
        assert!(!text.contains("at debug") && !text.contains("at trace"), "{text}");
    }

    #[test]
    fn the_file_of_another_user_or_a_link_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
        log(&path).write_all(b"line\n").unwrap();
        assert!(!dir.path().join("victim").exists());

        // A second name of a file of ours, where others can give one.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(dir.path().join("victim"), "mine").unwrap();
        std::fs::hard_link(dir.path().join("victim"), &path).unwrap();
        assert!(log(&path).open().is_ok());
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(log(&path).open().is_err());
    }
}
