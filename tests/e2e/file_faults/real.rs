//! File systems that are full, read-only or limited, with nothing injected.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tests::{Need, Run, requires};

use super::batch::{self, Batch, Before, Holds, TARGETS, Target};

/// What failed and what arrived.
struct Outcome {
    failed: Vec<Target>,
    arrived: usize,
}

/// Boots with something in the way: whoever did not arrive keeps the old content and says why.
#[track_caller]
fn boot(batch: &Batch, home: &Path, run: Run, message: &str) -> Outcome {
    let boot = batch.boot(run);
    assert_eq!(boot.exit.code, Some(0), "{}", boot.stderr);
    let (arrived, failed): (Vec<_>, Vec<_>) = Target::all().partition(|target| boot.delivered(home, *target));
    for target in &arrived {
        assert_eq!(batch.holds(home, *target), Holds::New, "{target:?}\n{}", boot.stderr);
    }
    for target in &failed {
        let old = if target.before() == Before::Nothing { Holds::Nothing } else { Holds::Old };
        assert_eq!(batch.holds(home, *target), old, "{target:?}: {}", boot.outcome(home, *target));
        boot.complains(home, *target, message);
    }
    assert_eq!(batch::leftovers(home), Vec::<PathBuf>::new());
    Outcome { failed, arrived: arrived.len() }
}

/// A small file system of its own, mounted at a home.
struct Disk(PathBuf);

impl Disk {
    fn mount(home: PathBuf, options: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], &home);
        Self(home)
    }

    fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("/usr/bin/umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], place: &Path) {
    let done = std::process::Command::new("/usr/bin/mount").args(arguments).arg(place).status().unwrap();
    assert!(done.success(), "mount {arguments:?} {}", place.display());
}

fn needs(test: &str) -> bool {
    requires(test, &[Need::Root, Need::Program("mount", "mount"), Need::Program("prlimit", "util-linux")])
}

#[test]
fn on_a_full_disk_what_fits_arrives_and_the_rest_is_kept() {
    if !needs("on_a_full_disk_what_fits_arrives_and_the_rest_is_kept") {
        return;
    }
    let batch = Batch::new();
    let disk = Disk::mount(batch.env().new_home("homes/full"), "size=600k,mode=755");
    Batch::prepare(&disk.0);
    // Room for some of the fifty only.
    let mut filler = fs::File::create(disk.0.join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    filler.set_len(filler.metadata().unwrap().len() - 60_000).unwrap();
    let outcome = boot(&batch, &disk.0, batch.run(&disk.0), "No space left on device");
    assert!(outcome.arrived > 0 && !outcome.failed.is_empty(), "{} arrived", outcome.arrived);
    disk.remount("size=10m");
    batch.completes(&disk.0);
}

#[test]
fn without_inodes_only_what_is_written_in_place_arrives() {
    if !needs("without_inodes_only_what_is_written_in_place_arrives") {
        return;
    }
    let batch = Batch::new();
    let disk = Disk::mount(batch.env().new_home("homes/inodes"), "nr_inodes=120,mode=755");
    Batch::prepare(&disk.0);
    let fill = (0..).take_while(|number| fs::File::create(disk.0.join(format!("filler-{number}"))).is_ok());
    assert!(fill.count() > 0);
    let outcome = boot(&batch, &disk.0, batch.run(&disk.0), "No space left on device");
    let linked = Target::all().filter(|target| target.before() == Before::Linked).count();
    assert_eq!(outcome.arrived, linked);
    disk.remount("nr_inodes=1000");
    batch.completes(&disk.0);
}

#[test]
fn on_a_read_only_disk_everything_is_kept() {
    if !needs("on_a_read_only_disk_everything_is_kept") {
        return;
    }
    let batch = Batch::new();
    let disk = Disk::mount(batch.env().new_home("homes/read-only"), "mode=755");
    Batch::prepare(&disk.0);
    disk.remount("ro");
    assert_eq!(boot(&batch, &disk.0, batch.run(&disk.0), "Read-only file system").failed.len(), TARGETS);
    disk.remount("rw");
    batch.completes(&disk.0);
}

/// A write that goes half way, as with `ulimit -f`: the kernel's own short write, and then a signal for the rest.
#[test]
fn over_the_file_size_limit_the_old_content_is_kept() {
    if !needs("over_the_file_size_limit_the_old_content_is_kept") {
        return;
    }
    let batch = Batch::new();
    let home = batch.home("limited");
    let run = batch.run(&home).under("/usr/bin/prlimit", ["--fsize=2000:unlimited"]);
    let outcome = boot(&batch, &home, run, "File too large");
    assert!(outcome.arrived > 0 && !outcome.failed.is_empty(), "{} arrived", outcome.arrived);
    batch.completes(&home);
}

#[test]
fn with_few_descriptors_everything_arrives() {
    if !needs("with_few_descriptors_everything_arrives") {
        return;
    }
    let batch = Batch::new();
    let home = batch.home("descriptors");
    let run = batch.run(&home).under("/usr/bin/prlimit", ["--nofile=40"]);
    assert_eq!(boot(&batch, &home, run, "").arrived, TARGETS);
    batch.completes(&home);
}

/// `chattr +i` stops even root: neither a rename nor a write in place is allowed.
#[test]
fn an_immutable_file_costs_only_its_own_secret() {
    let test = "an_immutable_file_costs_only_its_own_secret";
    if !requires(test, &[Need::Root, Need::Program("chattr", "e2fsprogs")]) {
        return;
    }
    let batch = Batch::new();
    let home = batch.home("immutable");
    let target = Target::all().find(|target| target.before() == Before::File).unwrap();
    let immutable = Immutable(target.path(&home));
    if !chattr("+i", &immutable.0) {
        assert!(!requires(test, &[Need::Program("a file system with immutable files", "none")]));
        return;
    }
    let outcome = boot(&batch, &home, batch.run(&home), "Operation not permitted");
    drop(immutable);
    assert_eq!((outcome.arrived, outcome.failed.len()), (TARGETS - 1, 1));
    batch.completes(&home);
}

/// Made mutable again at the end, else nobody could remove it.
struct Immutable(PathBuf);

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(flag: &str, path: &Path) -> bool {
    std::process::Command::new("/usr/bin/chattr").arg(flag).arg(path).status().unwrap().success()
}
