//! A disk that does not answer.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs::Need;

/// A file system that never answers, as a network file system whose server is gone: FUSE without anybody who serves it.
/// Dropped, it fails what waits for it, and is gone.
pub struct HungDisk {
    place: PathBuf,
    device: Option<File>,
}

impl HungDisk {
    /// What it takes.
    pub const NEEDS: [Need; 2] = [Need::Root, Need::Device(DEVICE)];

    /// Covers the directory `place` with one.
    #[track_caller]
    pub fn over(place: &Path) -> Self {
        let device = OpenOptions::new().read(true).write(true).open(DEVICE).unwrap();
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
        let status = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", options, "hung"])
            .arg(place)
            .stdin(device.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "mount over {}: {status}", place.display());
        Self { place: place.to_owned(), device: Some(device) }
    }
}

const DEVICE: &str = "/dev/fuse";

impl Drop for HungDisk {
    fn drop(&mut self) {
        drop(self.device.take());
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}
