//! What the lines of a ledger add up to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::Record;
use super::line::{Change, LedgerLine};

/// Files that may be ours under one path: the one before a crash, the one after, and those of another agent with the
/// same home.
const VERSIONS: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By source and path; as strings, since paths are compared component by component.
    paths: BTreeMap<(String, OsString), Kept>,
    lines: usize,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of its last line.
    number: usize,
    records: Vec<Record>,
}

impl Known {
    pub(super) fn take(&mut self, line: LedgerLine) {
        self.lines += 1;
        let key = (line.source, line.path.into());
        if matches!(line.event, Change::Forgotten) {
            self.paths.remove(&key);
            return;
        }
        let kept = self.paths.entry(key).or_default();
        kept.number = self.lines;
        if let Change::Written(record) = line.event {
            kept.records.retain(|known| *known != record);
            kept.records.push(record);
            if kept.records.len() > VERSIONS {
                kept.records.remove(0);
            }
        }
    }

    /// Takes up what another one knows and this one does not.
    pub(super) fn add(&mut self, other: &Self) {
        for line in other.lines() {
            self.take(line);
        }
    }

    pub(super) fn is_known(&self, source: &str, path: &Path) -> bool {
        self.paths.contains_key(&(source.to_owned(), path.into()))
    }

    pub(super) fn of<'k>(&'k self, source: &'k str) -> impl Iterator<Item = (&'k Path, &'k [Record])> {
        let own = self.paths.iter().filter(move |((of, _), _)| of == source);
        own.map(|((_, path), kept)| (Path::new(path), kept.records.as_slice()))
    }

    /// The files of all sources under a path, which is compared as a string.
    pub(super) fn at(&self, path: &Path) -> Vec<Record> {
        let same = self.paths.iter().filter(|((_, known), _)| known == path.as_os_str());
        same.flat_map(|(_, kept)| kept.records.iter().copied()).collect()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.keys().map(|(_, path)| Path::new(path))
    }

    /// Whether most of its lines say nothing any more.
    pub(super) fn is_mostly_outdated(&self) -> bool {
        const SLACK: usize = 64;
        let useful: usize = self.paths.values().map(|kept| kept.records.len().max(1)).sum();
        self.lines > 2 * useful + SLACK
    }

    /// As few lines as say the same, oldest first.
    pub(super) fn lines(&self) -> Vec<LedgerLine> {
        let mut paths: Vec<_> = self.paths.iter().collect();
        paths.sort_unstable_by_key(|(_, kept)| kept.number);
        let mut lines = Vec::new();
        for ((source, path), kept) in paths {
            let line = |event| LedgerLine { source: source.clone(), path: path.into(), event };
            match kept.records.as_slice() {
                [] => lines.push(line(Change::Approached)),
                records => lines.extend(records.iter().map(|record| line(Change::Written(*record)))),
            }
        }
        lines
    }
}
