use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterFn, ParseError, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::sys::fs::may_be_led_astray;

const FILE_NAME: &str = "coder-agent.log";
/// As the reference's.
const MAX_BYTES: u64 = 5 * 1024 * 1024;
/// Full files kept beside the current one.
const KEPT: usize = 3;

/// What stands in the way of the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("CODER_AGENT_LOG is not a level or a list such as agent=debug,info")]
    Levels,
}

/// Sends what the agent says to standard error and to its log file. `quiet`: warnings only on standard error, because
/// that belongs to the main process.
pub(super) fn init(log_dir: &Path, levels: Option<&str>, quiet: bool) -> Result<(), LogError> {
    let chosen: Option<Targets> = levels.map(parse_levels).transpose()?;
    let here = match &chosen {
        Some(targets) => targets.clone(),
        None => Targets::new().with_default(if quiet { LevelFilter::WARN } else { LevelFilter::INFO }),
    };
    let everything = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let terminal = io::stderr().is_terminal();
    let stderr = fmt::layer().with_writer(io::stderr).with_ansi(terminal).with_filter(ours()).with_filter(here);
    let path = log_dir.join(FILE_NAME);
    let (file, failure) = match Rotating::open(&path) {
        Ok(file) => (Some(file), None),
        Err(error) => (None, Some(error)),
    };
    let file =
        file.map(|file| fmt::layer().with_writer(file).with_ansi(false).with_filter(ours()).with_filter(everything));
    tracing_subscriber::registry().with(stderr).with(file).init();
    if let Some(error) = failure {
        tracing::warn!("cannot write the log file {}: {error}; logging to standard error only", path.display());
    }
    Ok(())
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

/// A log file that moves on to a fresh one when it is full.
struct Rotating {
    path: PathBuf,
    current: Mutex<(File, u64)>,
}

impl Rotating {
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), current: Mutex::new((file, length)) })
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 >= MAX_BYTES {
            // Where the directory does not let us, the file stays what it is until the next line tries again.
            if let Ok(file) = self.rotate() {
                *current = (file, 0);
            }
        }
        let written = current.0.write(bytes)?;
        current.1 += written as u64;
        Ok(written)
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

impl<'w> MakeWriter<'w> for Rotating {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(self)
    }
}

/// One line on its way.
struct Line<'w>(&'w Rotating);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_only_a_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/coder-agent.log");
        let log = Rotating::open(&path).unwrap();
        let line = vec![b'x'; usize::try_from(MAX_BYTES).unwrap()];
        for _ in 0..6 {
            Line(&log).write_all(&line).unwrap();
        }
        Line(&log).write_all(b"last\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"last\n");
        let count = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(count, 1 + KEPT);
        drop(log);
        Line(&Rotating::open(&path).unwrap()).write_all(b"restart\n").unwrap();
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
        let layer = fmt::layer().with_writer(Rotating::open(&path).unwrap()).with_filter(ours());
        with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "agent::control", "ours");
            tracing::debug!(target: "hyper::proto", "theirs at debug");
            tracing::trace!(target: "agentless", "theirs at trace");
            tracing::info!(target: "rustls", "theirs at info");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("ours") && text.contains("theirs at info"), "{text}");
        assert!(!text.contains("at debug") && !text.contains("at trace"), "{text}");
    }

    #[test]
    fn the_file_of_another_user_or_a_link_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink(dir.path().join("victim"), &path).unwrap();
        assert!(Rotating::open(&path).is_err());
        assert!(!dir.path().join("victim").exists());

        // A second name of a file of ours, where others can give one.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(dir.path().join("victim"), "mine").unwrap();
        std::fs::hard_link(dir.path().join("victim"), &path).unwrap();
        assert!(Rotating::open(&path).is_ok());
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(Rotating::open(&path).is_err());
    }
}
