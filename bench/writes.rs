//! Writing 100 secret files: the agent's way beside others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tests::binaries;

use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::Section;
use crate::world::World;

/// As in `agent/examples/deliver.rs`.
const FILES: usize = 100;
const DIRECTORIES: usize = 10;
const SIZE: usize = 1024;

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
    let figures = race(&world.env, &contenders);
    let mut section = Section::new("Write 100 secret files of 1 KiB in 10 new directories", "ms");
    section.text(format!("Each is a process of its own. The file system is {}.", file_system(world, &place)));
    section.ours(&contenders[0].what, figures[0]);
    section.peer(&contenders[1].what, figures[1]);
    section.peer(&contenders[2].what, figures[2]);
    section.limit(&contenders[3].what, figures[3]);
    report.add(section);
    fs::remove_dir_all(&place).expect("remove a directory");
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
    if way == "once" {
        return create(&directory.join("all"), FILES * SIZE)?.sync_data();
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

fn create(path: &Path, size: usize) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&vec![b'x'; size])?;
    Ok(file)
}
