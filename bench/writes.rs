//! Writing 100 secret files: the agent's way beside others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use tests::binaries;

use crate::figure::Figure;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

/// As in `agent/examples/deliver.rs`.
const FILES: usize = 100;
const DIRECTORIES: usize = 10;
const SIZE: usize = 1024;

/// Ways to keep the disk busy, and how many times as fast as one by one we want to be then.
const BUSY: &[(&str, &str, Option<f64>)] = &[
    ("stream", "writes 1 MiB after the other past the cache", Some(5.0)),
    ("bursts", "writes 64 MiB and flushes them, again and again", None),
];
const BLOCK: usize = 1024 * 1024;
const BLOCKS: u64 = 64;
const PAGE: usize = 4096;

pub fn measure(world: &mut World, report: &mut Report) {
    let bench = std::env::current_exe().expect("our own path");
    // Beside the build, which is on a disk; the directory of temporary files may be in memory, where a flush costs nothing.
    let place = bench.with_file_name("bench-files");
    fs::create_dir_all(&place).expect("make a directory");
    let example = binaries().coder.with_file_name("examples").join("deliver");
    let other = |what: &str, way: &str| contender(&place, what, &format!("{} write {way}", bench.display()));
    let contenders = [
        contender(&place, "the agent's: all written, all flushed, all renamed", &example.display().to_string()),
        other("each written, flushed and renamed, as Vault's and OpenBao's agents do", "each"),
        other("overwritten in place without a flush, as Coder's agent does (a crash may lose or tear them)", "plain"),
        other("one file of the same size, flushed once", "once"),
    ];
    let mut quiet = Section::new("Write 100 secret files of 1 KiB in 10 new directories", "ms");
    quiet.text(format!("Each is a process of its own. The file system is {}.", file_system(world, &place)));
    let [ours, each, plain, once] = raced(world, &contenders, &mut quiet);
    quiet.goal(Goal::at_least("100 durable files: at least twice as fast as one by one", each.to(ours), 2.0));
    let afford = 3.0 * plain.median + 2.0 * once.median;
    let what = "100 durable files: at most 1 of three times plain writes and two flushes";
    quiet.goal(Goal::at_most(what, ours.median / afford, 1.0));
    report.add(quiet);

    for (way, what, goal) in BUSY {
        let mut busy = Section::new(format!("The same while another process {what}"), "ms");
        let writer = world.env.program(&bench).args(["write", way]).arg(&place).spawn("busy");
        let [ours, each, ..] = raced(world, &contenders, &mut busy);
        drop(writer);
        if let Some(goal) = goal {
            let what =
                format!("100 durable files while another process {what}: at least five times as fast as one by one");
            busy.goal(Goal::at_least(what, each.to(ours), *goal));
        }
        report.add(busy);
    }
    fs::remove_dir_all(&place).expect("remove a directory");
}

fn raced(world: &World, contenders: &[Contender; 4], section: &mut Section) -> [Figure; 4] {
    let figures: [Figure; 4] = race(&world.env, contenders).try_into().expect("one for each");
    let [ours, each, plain, once] = contenders.each_ref().map(|contender| contender.what.as_str());
    section.ours(ours, figures[0]);
    section.peer(each, figures[1]);
    section.peer(plain, figures[2]);
    section.limit(once, figures[3]);
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

fn file_system(world: &World, place: &Path) -> String {
    let stat = world.env.program("/usr/bin/stat").args(["-f", "-c", "%T"]).arg(place).run().success();
    stat.stdout.trim().to_owned()
}

/// What `bench write WAY DIRECTORY` does.
pub fn write(way: &str, directory: &str) -> io::Result<()> {
    let directory = Path::new(directory);
    match way {
        "once" => return create(&directory.join("all"), FILES * SIZE)?.sync_data(),
        "stream" => return keep_writing(&directory.join("stream"), libc::O_DIRECT, |_| Ok(())),
        "bursts" => return keep_writing(&directory.join("bursts"), 0, File::sync_data),
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

/// One file over and over, until it is killed; `after` each time.
fn keep_writing(path: &Path, flags: i32, after: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
    let buffer = vec![b'x'; BLOCK + PAGE];
    // Past the cache only whole pages go.
    let block = &buffer[buffer.as_ptr().align_offset(PAGE)..][..BLOCK];
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path)?;
    loop {
        for number in 0..BLOCKS {
            file.write_all_at(block, number * BLOCK as u64)?;
        }
        after(&file)?;
    }
}

fn create(path: &Path, size: usize) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&vec![b'x'; size])?;
    Ok(file)
}
