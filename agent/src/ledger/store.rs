//! The directory of the ledger: `key`, and `ledger`, a log that only grows.
//!
//! A batch adds its lines before its first rename and flushes them together with its files, so that a boot needs no
//! flush more than it would without. Several agents may do so at once, each under the lock and never in the middle of a
//! line. Only a log that is worn or damaged is written anew, beside the old one.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::key::{KEY_BYTES, Key};
use super::known::Known;
use super::{Damage, LedgerError, log};
use crate::sys::fs::{self, Dir, Kind};

const KEY: &str = "key";
const LEDGER: &str = "ledger";
const NEW: &str = "ledger.new";
/// Far more than one that was written anew and grew until the next time.
const MOST_READ: usize = 4 * 1024 * 1024;
/// The lock is held for the length of a few small writes, and a flush where the ledger is written anew.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Where the ledger is.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// `None` where there is none or none that could be one.
    pub(super) key: Option<Key>,
    pub(super) known: Known,
    pub(super) damage: Option<Damage>,
    /// Length of the ledger.
    pub(super) bytes: usize,
}

/// An open directory that is locked for as long as this lives.
pub(super) struct Locked<'s> {
    store: &'s Store,
    dir: Dir,
    _lock: Dir,
}

impl Store {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` where the directory is not there yet.
    pub(super) fn lock(&self) -> Result<Option<Locked<'_>>, LedgerError> {
        match Dir::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => self.lock_opened(opened.map_err(|source| self.error(source))?).map(Some),
        }
    }

    /// Makes the directory where it is missing. Also returns what is to be flushed for that to last.
    pub(super) fn lock_made(&self) -> Result<(Locked<'_>, Vec<File>), LedgerError> {
        let (dir, grown) = Dir::make(&self.path).map_err(|source| self.error(source))?;
        Ok((self.lock_opened(dir)?, grown.into_iter().filter_map(Dir::into_file).collect()))
    }

    fn lock_opened(&self, dir: Dir) -> Result<Locked<'_>, LedgerError> {
        // Whoever may put files there could have us remove what they like.
        if dir.entry().uid != rustix::process::geteuid().as_raw() || dir.entry().mode & 0o022 != 0 {
            return Err(LedgerError::NotPrivate { path: self.path.clone() });
        }
        // Of its own, since a lock goes with the last copy of its descriptor.
        let lock = dir.open_from(Path::new(".")).map_err(|source| self.error(source))?;
        if !lock.lock(LOCK_WAIT).map_err(|source| self.error(source))? {
            return Err(LedgerError::Busy { path: self.path.clone() });
        }
        Ok(Locked { store: self, dir, _lock: lock })
    }

    /// Looks without a lock and without changing anything; a line that is just being written is not seen.
    pub(super) fn peek(&self) -> Result<Stored, LedgerError> {
        match Dir::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::default()),
            opened => opened.and_then(|dir| read(&dir)).map_err(|source| self.error(source)),
        }
    }

    fn error(&self, source: io::Error) -> LedgerError {
        LedgerError::Io { path: self.path.clone(), source }
    }
}

impl Locked<'_> {
    pub(super) fn read(&self) -> Result<Stored, LedgerError> {
        read(&self.dir).map_err(|source| self.store.error(source))
    }

    /// Adds `text`. Returns the files to flush before anything is done on its account.
    pub(super) fn append(&self, key: &Key, text: &str) -> Result<Vec<File>, LedgerError> {
        self.try_append(key, text)
            .map_err(|source| self.store.error(source))?
            .ok_or_else(|| LedgerError::OtherKey { path: self.store.path.clone() })
    }

    /// `None` where another key is there.
    fn try_append(&self, key: &Key, text: &str) -> io::Result<Option<Vec<File>>> {
        let mut unflushed = Vec::new();
        let there = content(&self.dir, KEY, KEY_BYTES + 1)?;
        let old = content(&self.dir, LEDGER, MOST_READ)?;
        let whole = old.as_ref().map_or(0, |old| log::whole(old));
        if there.as_ref().is_none_or(|there| there.as_slice() != key.bytes()) {
            if whole > 0 {
                return Ok(None);
            }
            // Nothing was ever sealed with it: cut short by a crash, or not yet made.
            unflushed.push(put(&self.dir, KEY, key.bytes())?);
        }
        let header = log::header(key);
        let added = if whole == 0 { format!("{header}{text}") } else { text.to_owned() };
        if old.as_ref().is_some_and(|old| whole > 0 && !old.starts_with(header.as_bytes())) {
            return Ok(None);
        }
        let file = match self.dir.look(LEDGER.as_ref())? {
            Some(entry) => self.dir.open_to_rewrite(LEDGER.as_ref(), &entry)?,
            None => self.dir.create(LEDGER.as_ref())?,
        };
        if old.is_none() {
            unflushed.extend(self.dir.open_from(Path::new("."))?.into_file());
        }
        let (start, end) = (whole as u64, (whole + added.len()) as u64);
        if let Err(error) = file.write_all_at(added.as_bytes(), start).and_then(|()| file.set_len(end)) {
            // Half a line would be the end of what can be read.
            file.set_len(start)?;
            return Err(error);
        }
        fs::start_writeback(&file);
        unflushed.push(file);
        Ok(Some(unflushed))
    }

    /// Writes the ledger anew, in one step.
    pub(super) fn rewrite(&self, key: &Key, known: &Known) -> Result<(), LedgerError> {
        let rewrite = || {
            let there = content(&self.dir, KEY, KEY_BYTES + 1)?;
            if there.is_none_or(|there| there.as_slice() != key.bytes()) {
                put(&self.dir, KEY, key.bytes())?.sync_all()?;
            }
            put(&self.dir, NEW, log::text(known, key).as_bytes())?.sync_all()?;
            self.dir.rename_over(NEW.as_ref(), LEDGER.as_ref())?;
            self.dir.flush()
        };
        rewrite().map_err(|source| self.store.error(source))
    }

    /// Keeps a ledger that is about to be written anew under another name too, which is returned.
    pub(super) fn set_aside(&self) -> Result<PathBuf, LedgerError> {
        const KEPT: usize = 9;
        for number in 1..=KEPT {
            let name = format!("ledger.damaged-{number}");
            match self.dir.link_new(LEDGER.as_ref(), name.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => {
                    linked.map_err(|source| self.store.error(source))?;
                    return Ok(self.store.path.join(name));
                }
            }
        }
        Err(LedgerError::Crowded { path: self.store.path.clone() })
    }
}

fn read(dir: &Dir) -> io::Result<Stored> {
    let key = content(dir, KEY, KEY_BYTES + 1)?.and_then(|content| Key::from_file(&content));
    let ledger = content(dir, LEDGER, MOST_READ + 1)?.unwrap_or_default();
    if log::whole(&ledger) == 0 && ledger.len() <= MOST_READ {
        return Ok(Stored { key, ..Stored::default() });
    }
    let Some(key) = key else {
        return Ok(Stored { damage: Some(Damage::NoKey), ..Stored::default() });
    };
    let (known, damage) = log::parse(&ledger, &key);
    let damage = if ledger.len() > MOST_READ { Some(Damage::TooLong) } else { damage };
    Ok(Stored { key: Some(key), known, damage, bytes: ledger.len() })
}

/// A file of ours in the directory, at most so much of it.
fn content(dir: &Dir, name: &str, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let Some(entry) = dir.look(name.as_ref())? else { return Ok(None) };
    if entry.kind != Kind::File {
        return Err(io::Error::other(format!("{name} in it is a {}", entry.kind)));
    }
    let file = dir.open_to_read(name.as_ref(), &entry)?;
    let size = usize::try_from(entry.size).map_or(limit, |size| size.saturating_add(1).min(limit));
    Ok(Some(fs::read_bounded(&file, size)?))
}

/// A new file in the place of any old one; whoever has that open keeps it.
fn put(dir: &Dir, name: &str, content: &[u8]) -> io::Result<File> {
    match dir.remove(name.as_ref()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = dir.create(name.as_ref())?;
    file.write_all(content)?;
    Ok(file)
}
