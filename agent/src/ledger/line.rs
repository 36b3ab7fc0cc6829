//! One line of the ledger, behind a seal of its own.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

use super::Record;
use super::key::{Fingerprint, Key};
use crate::sys::fs::FileId;

/// A path need not be text, and a line must be one line.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Something that was done, or is about to be.
#[derive(Clone, Debug)]
pub(super) struct LedgerLine {
    /// The server and the owner whose secret it is.
    pub(super) source: String,
    pub(super) path: PathBuf,
    pub(super) event: Change,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Temporary files may be made beside it from now on.
    Approached,
    /// It is this file from now on, or, after a crash, still the one before.
    Written(Record),
    /// It is no concern of ours any more.
    Forgotten,
}

/// [`LedgerLine`], as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'l> {
    event: Cow<'l, str>,
    source: Cow<'l, str>,
    path: Cow<'l, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<WireFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    fingerprint: String,
}

impl LedgerLine {
    pub(super) fn to_text(&self, key: &Key) -> String {
        let (event, file) = match &self.event {
            Change::Approached => ("approached", None),
            Change::Written(record) => ("written", Some(WireFile::from(record))),
            Change::Forgotten => ("forgotten", None),
        };
        let path = percent_encode(self.path.as_os_str().as_bytes(), ESCAPED).into();
        let wire = Wire { event: event.into(), source: self.source.as_str().into(), path, file };
        // Strings and numbers: there is nothing in it that JSON could refuse.
        let text = serde_json::to_string(&wire).unwrap_or_default();
        format!("{} {text}\n", key.seal(&text))
    }

    /// `None` where the key did not seal it.
    pub(super) fn parse(text: &str, key: &Key) -> Option<Self> {
        let (seal, text) = text.split_once(' ')?;
        if seal != key.seal(text) {
            return None;
        }
        let wire: Wire<'_> = serde_json::from_str(text).ok()?;
        let event = match (&*wire.event, wire.file) {
            ("approached", None) => Change::Approached,
            ("written", Some(file)) => Change::Written(file.record()?),
            ("forgotten", None) => Change::Forgotten,
            _ => return None,
        };
        let path = OsString::from_vec(percent_decode_str(&wire.path).collect());
        Some(Self { source: wire.source.into_owned(), path: Path::new(&path).to_owned(), event })
    }
}

impl From<&Record> for WireFile {
    fn from(record: &Record) -> Self {
        let FileId { device, inode } = record.id;
        Self { device, inode, size: record.size, mode: record.mode, fingerprint: record.fingerprint.to_text() }
    }
}

impl WireFile {
    fn record(&self) -> Option<Record> {
        let id = FileId { device: self.device, inode: self.inode };
        let fingerprint = Fingerprint::from_text(&self.fingerprint)?;
        Some(Record { id, size: self.size, mode: self.mode, fingerprint })
    }
}
