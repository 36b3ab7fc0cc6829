//! Room on the disk for administrators: a file that is given up when nothing else is free.
//!
//! A disk fills up in the middle of an attack, or because of a log file beside the database. Then no write succeeds, also not the one that
//! revokes the attacker's token.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::DataDir;

/// Room for some thousand pages of the write-ahead log; a command writes a few dozen.
const BYTES: u64 = 4 * 1024 * 1024;
/// With less than this free, a command may not get through.
const LOW: u64 = 1024 * 1024;
/// The reserve must not take the last of the disk itself.
const PLENTY: u64 = 4 * BYTES;

impl DataDir {
    /// Sets the room aside, if the disk has enough. The kernel takes the blocks at once, not when they are written.
    pub fn keep_reserve(&self) -> io::Result<()> {
        let path = self.path().join("reserve");
        if fs::metadata(&path).is_ok_and(|found| found.len() >= BYTES) || self.free()? < PLENTY {
            return Ok(());
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let taken = fallocate(&file, FallocateFlags::empty(), 0, BYTES);
        if taken.is_err() {
            drop(fs::remove_file(&path));
        }
        Ok(taken?)
    }

    /// Gives the room up if the disk is full. True if it did.
    pub fn give_up_reserve(&self) -> io::Result<bool> {
        if self.free()? >= LOW {
            return Ok(false);
        }
        match fs::remove_file(self.path().join("reserve")) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the disk that are free for us.
    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(self.path())?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}
