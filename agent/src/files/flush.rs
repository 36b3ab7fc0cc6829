//! Flushes of many things at once. Each waits for the disk to empty its cache, and the kernel joins those that wait at the
//! same time; each is still flushed by itself, so that an error has its file.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use rustix::io::Errno;

use crate::sys::fs::{Dir, FileId};

/// Threads that wait.
const AT_ONCE: usize = 16;

/// The contents of `files`; one result for each, in their order.
pub(super) fn files(files: &[&File]) -> Vec<io::Result<()>> {
    at_once(files, |file| file.sync_data())
}

/// The entries of directories, each once, however often it is named; what failed. With a file that was renamed in it.
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

fn at_once<T: Sync>(items: &[T], flush: impl Fn(&T) -> io::Result<()> + Sync) -> Vec<io::Result<()>> {
    let share_of = |share: &[T]| share.iter().map(&flush).collect::<Vec<_>>();
    let panicked = |share: &[T]| share.iter().map(|_| Err(io::Error::other("the flushing thread panicked"))).collect();
    if items.len() < 2 {
        return share_of(items);
    }
    std::thread::scope(|scope| {
        let share_of = &share_of;
        let shares: Vec<_> = items
            .chunks(items.len().div_ceil(AT_ONCE))
            .map(|share| (share, std::thread::Builder::new().spawn_scoped(scope, move || share_of(share))))
            .collect();
        let done = shares.into_iter().flat_map(|(share, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| panicked(share)),
            // No thread to be had: this one does it.
            Err(_) => share_of(share),
        });
        done.collect()
    })
}
