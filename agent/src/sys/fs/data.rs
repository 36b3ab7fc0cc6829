use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::sys::memory;
use crate::sys::syscall;

/// Reads from the start of a file, at most `limit` bytes, into a buffer that is wiped.
pub fn read_bounded(file: &File, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut buffer = memory::wiped_buffer(limit);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Takes the space for `len` bytes without changing size or content, so that a full disk is found out before the first
/// old byte is overwritten. Does nothing where the file system cannot.
pub fn reserve(file: &File, len: usize) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len as u64) {
        Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

/// Starts writing the content to the disk without waiting for it. Best effort: the flush that follows reports.
pub fn start_writeback(file: &File) {
    syscall::sync_file_range(file);
}

/// Takes the lock of an open file or directory, unless another one has it. True as well where the file system has none,
/// as some network file systems: those who meet there are told apart by nothing.
pub fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// As [`try_lock`], but waits for up to `patience`.
pub fn lock(file: impl AsFd + Copy, patience: Duration) -> io::Result<bool> {
    const PAUSE: Duration = Duration::from_millis(2);
    let begun = Instant::now();
    loop {
        let locked = try_lock(file)?;
        if locked || begun.elapsed() >= patience {
            return Ok(locked);
        }
        std::thread::sleep(PAUSE);
    }
}
