//! What we wrote, across crashes and power failures: a file of ours is known as ours, and nothing else is taken for it.
//!
//! The ledger is told which file is about to take a name, before it does. So after a crash it may know of a file that
//! never got there, which a look at the file shows; it never misses one that did. It holds paths, numbers of files and
//! keyed fingerprints of contents, and no value. Without a place to keep it, all else works; only stale files stay.
#![forbid(unsafe_code)]

mod key;
mod known;
mod line;
mod log;
mod store;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub use key::{Fingerprint, Key};

use crate::errors::chain;
use crate::sys::fs::{Entry, FileId};
use known::Known;
use line::{Change, LedgerLine};
use store::Store;

/// What one file was when we had written it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Which file it is.
    pub id: FileId,
    /// Its length.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Of its content.
    pub fingerprint: Fingerprint,
}

impl Record {
    /// Of a file as it is, with a content of this fingerprint.
    #[must_use]
    pub fn new(entry: &Entry, len: usize, fingerprint: Fingerprint) -> Self {
        Self { id: entry.id, size: len as u64, mode: entry.mode, fingerprint }
    }
}

/// What is wrong with a ledger.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Damage {
    #[error("its key is missing or unusable")]
    NoKey,
    #[error("it was made with another key")]
    OtherKey,
    #[error("its version is {0:?}, and this agent reads version 1")]
    Version(String),
    #[error("it does not begin as a ledger does")]
    Header,
    #[error("line {0} is damaged")]
    Line(usize),
    #[error("it is too long")]
    TooLong,
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum LedgerError {
    #[error("in {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} must be the user's own directory that nobody else may write to")]
    NotPrivate { path: PathBuf },
    #[error("another process has {path} locked")]
    Busy { path: PathBuf },
    #[error("the key in {path} was changed while this agent ran")]
    OtherKey { path: PathBuf },
    #[error("there are nine damaged ledgers in {path} already: look at them and remove them")]
    Crowded { path: PathBuf },
    #[error("no home directory is known; name a directory with --state-dir")]
    NoPlace,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    store: Option<Store>,
    key: Key,
    /// The key has sealed something on the disk, so that it cannot be another one any more.
    is_settled: bool,
    /// The server and the owner whose secrets are delivered now.
    source: String,
    known: Known,
    unflushed: Vec<File>,
    works: bool,
    told: bool,
}

impl Ledger {
    /// The ledger in the directory `place`, at which nothing looks before [`Ledger::begin`]. An error only where the
    /// system has no random numbers.
    pub fn new(place: Option<PathBuf>) -> io::Result<Self> {
        Ok(Self {
            store: place.map(Store::new),
            key: Key::random()?,
            is_settled: false,
            source: String::new(),
            known: Known::default(),
            unflushed: Vec::new(),
            works: false,
            told: false,
        })
    }

    /// Reads what this agent and others have written so far. `source` names the server and the owner whose secrets are
    /// about to be delivered: files of others with the same home are none of its business.
    pub fn begin(&mut self, source: String) {
        self.source = source;
        self.unflushed.clear();
        self.works = true;
        let read = self.read();
        self.check(read);
    }

    /// As [`Ledger::begin`], for looking only: nothing is changed, and what is damaged stays as it is.
    pub fn peek(&mut self, source: String) {
        self.source = source;
        let found = self.store.as_ref().ok_or(LedgerError::NoPlace).and_then(Store::peek);
        self.works = found.as_ref().is_ok_and(|found| found.damage.is_none());
        match found {
            Ok(found) => {
                self.key = found.key.unwrap_or_else(|| self.key.clone());
                self.known = found.known;
                if let (Some(damage), Some(store)) = (found.damage, &self.store) {
                    tracing::warn!("the ledger in {:?} would be set aside: {damage}", store.path());
                }
            }
            Err(error) => self.check(Err(error)),
        }
    }

    fn read(&mut self) -> Result<(), LedgerError> {
        let Some(store) = &self.store else { return Err(LedgerError::NoPlace) };
        let Some(locked) = store.lock()? else { return Ok(()) };
        let found = locked.read()?;
        match found.key {
            Some(key) if !self.is_settled => self.key = key,
            // Its lines are as good as before, whatever was done to the file meanwhile.
            Some(key) if key.bytes() != self.key.bytes() => {
                return Err(LedgerError::OtherKey { path: store.path().into() });
            }
            _ => {}
        }
        self.is_settled |= found.bytes > 0;
        // What a former delivery of this process wrote is known whatever became of the ledger meanwhile.
        let mut known = found.known;
        if let Some(damage) = found.damage {
            known.add(&self.known);
            let aside = locked.set_aside()?;
            tracing::warn!(
                "the ledger in {:?} is damaged: {damage}. It is kept as {aside:?}; what cannot be read from it will never be removed",
                store.path()
            );
            locked.rewrite(&self.key, &known)?;
            self.is_settled = true;
        } else if log::is_worn(&known, found.bytes) {
            locked.rewrite(&self.key, &known)?;
        }
        self.known = known;
        Ok(())
    }

    /// Makes fingerprints that can be compared with those of records. Another may replace it until [`Ledger::approach`].
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether what was done will be known at the next start.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works
    }

    /// Where secrets of this source were written to, and which files these may be.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[Record])> {
        self.known.of(&self.source)
    }

    /// The directory that the ledger is in, where that can be used.
    #[must_use]
    pub fn place(&self) -> Option<&Path> {
        self.store.as_ref().filter(|_| self.works).map(Store::path)
    }

    /// The files at `path` that secrets of any source were written to.
    #[must_use]
    pub fn records(&self, path: &Path) -> Vec<Record> {
        self.known.at(path)
    }

    /// Where any secrets were written to.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.known.paths()
    }

    /// Temporary files are about to be made beside `paths`. Not flushed: what a power failure takes with it is the
    /// knowledge of a file that it most likely took as well.
    pub fn approach<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) {
        let paths: Vec<_> = paths.filter(|path| !self.known.is_known(&self.source, path)).collect();
        let files = self.note(paths.into_iter().map(|path| (path.to_owned(), Change::Approached)).collect());
        self.unflushed.extend(files);
    }

    /// Each of `files` is about to take its path. Returns what must be flushed before it does.
    #[must_use]
    pub fn intend(&mut self, files: impl Iterator<Item = (PathBuf, Record)>) -> Vec<File> {
        let noted = self.note(files.map(|(path, record)| (path, Change::Written(record))).collect());
        self.unflushed.extend(noted);
        std::mem::take(&mut self.unflushed)
    }

    /// What came of flushing it. An error is told, and keeps stale files from being removed; not secrets from arriving.
    pub fn flushed(&mut self, result: io::Result<()>) {
        match result {
            // Some file systems have no flush of directories.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            result => {
                let path = self.store.as_ref().map(|store| store.path().to_owned()).unwrap_or_default();
                self.check(result.map_err(|source| LedgerError::Io { path, source }));
            }
        }
    }

    /// The files at `paths` are no concern of ours any more. Not flushed: at worst they are looked at once more.
    pub fn forget(&mut self, paths: impl Iterator<Item = PathBuf>) {
        self.note(paths.map(|path| (path, Change::Forgotten)).collect());
    }

    /// As if [`Ledger::intend`] had been told of them, in memory alone.
    #[cfg(test)]
    pub(crate) fn know(&mut self, files: impl Iterator<Item = (PathBuf, Record)>) {
        for (path, record) in files {
            self.known.take(LedgerLine { source: self.source.clone(), path, event: Change::Written(record) });
        }
    }

    fn note(&mut self, events: Vec<(PathBuf, Change)>) -> Vec<File> {
        if events.is_empty() || !self.works {
            return Vec::new();
        }
        let source = &self.source;
        let lines = events.into_iter().map(|(path, event)| LedgerLine { source: source.clone(), path, event });
        let lines: Vec<_> = lines.collect();
        let appended = self.append(&lines);
        for line in lines {
            self.known.take(line);
        }
        match appended {
            Ok(files) => files,
            Err(error) => {
                self.check(Err(error));
                Vec::new()
            }
        }
    }

    fn append(&mut self, lines: &[LedgerLine]) -> Result<Vec<File>, LedgerError> {
        let store = self.store.as_ref().ok_or(LedgerError::NoPlace)?;
        let (locked, mut unflushed) = store.lock_made()?;
        if !self.is_settled {
            // Another agent may have made the first ledger of this home since we looked: its key is the key, then.
            let found = locked.read()?;
            if let (Some(key), None) = (found.key, found.damage) {
                self.key = key;
                self.known.add(&found.known);
            }
        }
        let text: String = lines.iter().map(|line| line.to_text(&self.key)).collect();
        unflushed.extend(locked.append(&self.key, &text)?);
        self.is_settled = true;
        Ok(unflushed)
    }

    /// Said once in the life of the agent, however often it tries.
    fn check(&mut self, result: Result<(), LedgerError>) {
        let Err(error) = result else { return };
        self.works = false;
        if !self.told {
            tracing::warn!("no ledger of written files is kept, so stale files are never removed: {}", chain(&error));
        }
        self.told = true;
    }
}

#[cfg(test)]
mod tests;
