//! Writing 100 secret files: the agent's way beside others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use nix::libc;
use tests::binaries;

use crate::figure::Figure;
use crate::machine::file_system;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

/// As in `agent/examples/deliver.rs`.
const FILES: usize = 100;
const DIRECTORIES: usize = 10;
const SIZE: usize = 1024;

const BLOCK: usize = 1024 * 1024;
const BLOCKS: u64 = 64;
const PAGE: usize = 4096;

pub fn measure(world: &mut World, report: &mut Report) {
    let bench = std::env::current_exe().expect("our own path");
    // Beside the build, which is on a disk; the directory of temporary files may be in memory, where a flush costs nothing.
    let place = bench.with_file_name("bench-files");
    // What a run that was killed has left.
    let _ = world.env.program("/bin/umount").arg(place.join("mounted")).run();
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).expect("make a directory");
    let contenders = contenders(&bench, &place);
    report.add(quiet(world, &contenders, &file_system(&world.env, &place)));
    report.add(busy(world, &bench, &place, &contenders));
    match Mounted::new(world, &place) {
        Some(image) => {
            let contenders = self::contenders(&bench, &image.place);
            report.add(quiet(world, &contenders, "ext4 with a journal, new and in a file"));
        }
        None => eprintln!("writes: only root can mount a new file system with a journal, so it is left out"),
    }
    fs::remove_dir_all(&place).expect("remove a directory");
}

fn contenders(bench: &Path, place: &Path) -> [Contender; 4] {
    let example = binaries().coder.with_file_name("examples").join("deliver");
    let other = |what: &str, way: &str| contender(place, what, &format!("{} write {way}", bench.display()));
    [
        contender(place, "the agent's: all written, all flushed, all renamed", &example.display().to_string()),
        other("each written, flushed and renamed, as Vault's and OpenBao's agents do", "each"),
        other("written in place without a flush, as Coder's agent does (a crash may lose or tear them)", "plain"),
        other("one file of the same size, flushed once", "once"),
    ]
}

fn quiet(world: &World, contenders: &[Contender; 4], system: &str) -> Section {
    let mut section = Section::new(format!("Write 100 secret files of 1 KiB in 10 new directories of {system}"), "ms");
    section.text("Each is a process of its own.");
    let [ours, each, plain, once] = raced(world, contenders, &mut section);
    let what = format!("100 durable files on {system}");
    section.goal(Goal::at_least(format!("{what}: at least twice as fast as one by one"), each.to(&ours), 2.0));
    let afford = 3.0 * plain.median + 2.0 * once.median;
    let affords = format!("{what}: at most 1 of three times plain writes and two flushes");
    section.goal(Goal::at_most(affords, ours.median / afford, 1.0));
    section
}

/// While the disk always has something else to do.
fn busy(world: &World, bench: &Path, place: &Path, contenders: &[Contender; 4]) -> Section {
    let other = "another process writes 1 MiB after the other past the cache";
    let mut section = Section::new(format!("The same while {other}"), "ms");
    let mut writer = world.env.program(bench).args(["write", "stream"]).arg(place).spawn("busy");
    let [ours, each, ..] = raced(world, contenders, &mut section);
    let what = format!("100 durable files while {other}: at least five times as fast as one by one");
    section.goal(match writer.try_exit() {
        None => Goal::at_least(what, each.to(&ours), 5.0),
        Some(_) => Goal::unknown(what, "this file system knows no writing past the cache"),
    });
    section
}

fn raced(world: &World, contenders: &[Contender; 4], section: &mut Section) -> [Figure; 4] {
    let figures: [Figure; 4] = race(&world.env, contenders).try_into().expect("one for each");
    let [ours, each, plain, once] = contenders.each_ref().map(|contender| contender.what.as_str());
    section.ours(ours, figures[0].clone());
    section.peer(each, figures[1].clone());
    section.peer(plain, figures[2].clone());
    section.limit(once, figures[3].clone());
    figures
}

/// What the last run wrote is moved away and on the disk before the next begins. Not removed: for half a minute ext4 passes
/// over the inodes of removed files, one by one.
fn contender(place: &Path, what: &str, command: &str) -> Contender {
    let place = place.display();
    Contender::new(what, format!("{command} {place}/home")).prepare(format!(
        "sh -c 'mkdir -p {place}/home && mv {place}/home {place}/home.$$ && mkdir {place}/home && sync -f {place}'"
    ))
}

/// A new ext4 as it is made by default, in a file on the disk. Taken away when dropped.
struct Mounted<'w> {
    world: &'w World,
    place: PathBuf,
}

impl<'w> Mounted<'w> {
    /// `None` for an ordinary user, and in most containers.
    fn new(world: &'w World, within: &Path) -> Option<Self> {
        let (image, place) = (within.join("image"), within.join("mounted"));
        File::create(&image).and_then(|file| file.set_len(2 << 30)).expect("make an image");
        fs::create_dir_all(&place).expect("make a directory");
        let run = |program: &str, args: &[&str], paths: &[&Path]| {
            let run = paths.iter().fold(world.env.program(program).args(args), tests::Run::arg);
            run.run().exit.code == Some(0)
        };
        let is_mounted =
            run("/sbin/mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"], &[&image])
                && run("/bin/mount", &["-o", "loop"], &[&image, &place]);
        is_mounted.then_some(Self { world, place })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = self.world.env.program("/bin/umount").arg(&self.place).run().success();
    }
}

/// What `bench write WAY DIRECTORY` does.
pub fn write(way: &str, directory: &str) -> io::Result<()> {
    let directory = Path::new(directory);
    match way {
        "once" => return create(&directory.join("all"), FILES * SIZE)?.sync_data(),
        "stream" => return keep_writing(&directory.join("stream")),
        _ => {}
    }
    for number in 0..FILES {
        let parent = directory.join((number % DIRECTORIES).to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&parent)?;
        let path = parent.join(format!("secret-{number}"));
        if way == "each" {
            let temporary: PathBuf = parent.join(format!(".secret-{number}.tmp"));
            create(&temporary, SIZE)?.sync_all()?;
            fs::rename(temporary, path)?;
        } else {
            create(&path, SIZE)?;
        }
    }
    Ok(())
}

/// One file over and over past the cache, until it is killed or whoever started it has gone.
fn keep_writing(path: &Path) -> io::Result<()> {
    let buffer = vec![b'x'; BLOCK + PAGE];
    // O_DIRECT takes whole pages.
    let block = &buffer[buffer.as_ptr().align_offset(PAGE)..][..BLOCK];
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(path)?;
    let parent = parent_id();
    while parent_id() == parent {
        for number in 0..BLOCKS {
            file.write_all_at(block, number * BLOCK as u64)?;
        }
    }
    Ok(())
}

fn create(path: &Path, size: usize) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&vec![b'x'; size])?;
    Ok(file)
}
