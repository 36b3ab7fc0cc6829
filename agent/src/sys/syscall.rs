//! System calls that neither rustix nor nix wraps.
#![expect(unsafe_code, reason = "calls of libc")]

use std::os::fd::AsRawFd;

use nix::libc;

/// Starts writeback of a whole file. Errors are left to the flush that follows.
pub(super) fn sync_file_range(file: &impl AsRawFd) {
    // SAFETY: the call takes integers only; a bad descriptor is refused.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
