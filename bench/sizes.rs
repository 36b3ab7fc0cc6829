//! What has to be copied into an image.

use std::fs;
use std::path::Path;

use tests::binaries;

use crate::figure::Figure;
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::world::World;

const MIB: f64 = 1_048_576.0;

pub fn measure(world: &mut World, report: &mut Report) {
    let mut section = Section::new("Size of the executables", "MiB");
    section.text("Scripts are left out; libraries of the distribution are not counted.");
    let coder = size(&binaries().coder);
    section.goal(Goal::at_most("size of `coder`: below 8 MiB", coder.median, 8.0));
    section.ours("`coder`, stripped", coder);
    section.ours("`coder-server`, stripped", size(&binaries().server));
    let is_script = |program: &str| fs::read(program).is_ok_and(|content| content.starts_with(b"#!"));
    for (name, program) in world.peers.programs().filter(|(_, program)| !is_script(program)) {
        section.peer(name, size(Path::new(program)));
    }
    report.add(section);
}

fn size(path: &Path) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let bytes = fs::metadata(path).expect("an executable").len() as f64;
    Figure::exact(bytes / MIB)
}
