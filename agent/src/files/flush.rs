//! Flushes of many things at once. Each waits for the disk to empty its cache, and the kernel joins those that wait at
//! the same time; each is still flushed by itself, so that an error has its file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use rustix::io::Errno;

use crate::sys::fs::{Dir, FileId};

/// Threads that wait, this one included.
const AT_ONCE: usize = 16;

/// The contents of `files`; one result for each, in their order.
pub(super) fn files(files: &[&File]) -> Vec<io::Result<()>> {
    at_once(files, |file| file.sync_data())
}

/// The entries of directories, each once, however often it is named. A file that was renamed in one stands beside it,
/// for where the directory itself may not be read. Returns what failed.
pub(super) fn directories<'d>(named: impl Iterator<Item = (&'d Dir, Option<&'d File>)>) -> HashMap<FileId, Errno> {
    let mut different = HashMap::new();
    for (dir, renamed) in named {
        let (_, file) = different.entry(dir.id()).or_insert((dir, renamed));
        *file = file.or(renamed);
    }
    let (ids, named): (Vec<_>, Vec<_>) = different.into_iter().unzip();
    let results = at_once(&named, |(dir, renamed)| directory(dir, *renamed));
    let errno = |error: &io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    ids.into_iter().zip(results).filter_map(|(id, result)| Some((id, errno(&result.err()?)))).collect()
}

fn directory(dir: &Dir, renamed: Option<&File>) -> io::Result<()> {
    match dir.flush() {
        // A directory that may be searched and written but not read cannot be flushed itself; a file renamed in it can,
        // and takes the rename along.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => renamed.map_or(Ok(()), File::sync_all),
        flushed => flushed,
    }
}

/// By as many threads as get something to do: on a fast disk the first of them are done before the others are made.
fn at_once<T: Sync>(items: &[T], flush: impl Fn(&T) -> io::Result<()> + Sync) -> Vec<io::Result<()>> {
    let results: Vec<_> = items.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((item, result)) = claim(&next, items, &results) {
            let _ = result.set(flush(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(items.len()) {
            let is_all_claimed = next.load(Ordering::Relaxed) >= items.len();
            // No thread to be had: those there are do it.
            if is_all_claimed || Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    results
        .into_iter()
        .map(|result| result.into_inner().unwrap_or_else(|| Err(io::Error::other("nobody flushed it"))))
        .collect()
}

fn claim<'i, T, R>(next: &AtomicUsize, items: &'i [T], results: &'i [R]) -> Option<(&'i T, &'i R)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((items.get(index)?, results.get(index)?))
}
