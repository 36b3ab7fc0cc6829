//! Flushes of many things at once. Each waits for the disk to empty its cache, and the kernel joins those that wait at
//! the same time; each is still flushed by itself, so that an error has its file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::sys::fs::{Dir, FileId, start_writeback};

/// Threads that work and wait, the caller's included: enough for a disk that answers at once, and for one that does not.
const FEW: usize = 4;
const MANY: usize = 16;
/// By then a fast disk has answered.
const SLOW: Duration = Duration::from_micros(500);

/// The contents of `files`; one result for each, in their order. Writeback of all is begun before one is waited for.
pub(super) fn files(files: &[&File]) -> Vec<io::Result<()>> {
    let job = |number: usize| match (files.get(number), files.get(number.wrapping_sub(files.len()))) {
        (Some(file), _) => {
            start_writeback(file);
            Ok(())
        }
        (None, file) => file.map_or(Ok(()), |file| file.sync_data()),
    };
    at_once(2 * files.len(), job).split_off(files.len())
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
    let flush = |number: usize| named.get(number).map_or(Ok(()), |(dir, renamed)| directory(dir, *renamed));
    let results = at_once(named.len(), flush);
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

/// Does `jobs` numbered jobs, begun in their order, by few threads, and by many once one has to wait.
fn at_once(jobs: usize, job: impl Fn(usize) -> io::Result<()> + Sync) -> Vec<io::Result<()>> {
    let results: Vec<_> = (0..jobs).map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work_once = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        results.get(number).is_some_and(|result| result.set(job(number)).is_ok())
    };
    std::thread::scope(|scope| {
        let (mut threads, mut wanted) = (1, FEW);
        loop {
            while threads < wanted && next.load(Ordering::Relaxed) < jobs {
                // No thread to be had: those there are do it.
                let more = Builder::new().spawn_scoped(scope, || while work_once() {});
                (threads, wanted) = if more.is_ok() { (threads + 1, wanted) } else { (threads, threads) };
            }
            let begun = Instant::now();
            if !work_once() {
                break;
            }
            if begun.elapsed() > SLOW {
                wanted = MANY;
            }
        }
    });
    results
        .into_iter()
        .map(|result| result.into_inner().unwrap_or_else(|| Err(io::Error::other("nobody flushed it"))))
        .collect()
}
