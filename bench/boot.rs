//! How long a developer waits until the startup script runs.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tests::{Workspace, binaries};

use crate::figure::short;
use crate::openbao::OpenBao;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

/// In milliseconds.
const BOUND: f64 = 15.0;

pub fn measure(world: &mut World, report: &mut Report) {
    // As /run is. Each boot takes away the socket of the one before, and ext4 passes over inodes of removed files.
    let sockets = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("make a directory");
    let socket = sockets.path().join("agent.sock").display().to_string();
    let few = stopwatch(world, 10);
    let none = stopwatch(world, 0);
    let mut contenders = vec![
        boot(world, &world.stopwatch, "`coder agent`, 50 secrets (25 files), files as they were", &socket, false),
        boot(world, &world.stopwatch, "`coder agent`, 50 secrets (25 files), an empty home", &socket, true),
        boot(world, &few, "`coder agent`, 10 secrets (5 files), files as they were", &socket, false),
        boot(world, &few, "`coder agent`, 10 secrets (5 files), an empty home", &socket, true),
        boot(world, &none, "`coder agent`, no secrets", &socket, false),
        Contender::new("bare start of `true`", "true"),
    ];
    let ours = contenders.len() - 1;
    let bao = world.peers.get("bao").ok().map(|peer| OpenBao::start(&world.env, peer));
    contenders.extend(bao.iter().map(OpenBao::boot));

    let figures = race(&world.env, &contenders);
    for (workspace, files) in [(&world.stopwatch, 25), (&few, 5), (&none, 0)] {
        let home = |fresh: bool| world.env.path(home(workspace, fresh)).join(".secrets");
        let delivered = |home: PathBuf| {
            fs::read_dir(home).map_or(0, |found| {
                found.filter(|one| one.as_ref().is_ok_and(|one| one.path().join("token").exists())).count()
            })
        };
        assert_eq!(delivered(home(false)), files, "a boot that delivers nothing is fast");
        assert!(files == 0 || delivered(home(true)) == files, "a boot that delivers nothing is fast");
    }
    let mut section = Section::new("Start of an agent to the first line of the startup script", "ms");
    section.text("From the start of the process until the script's first line, which kills the agent.");
    for (index, (contender, figure)) in contenders.iter().zip(figures).enumerate() {
        let (what, ms) = (&contender.what, figure.median);
        match index {
            _ if index < ours => {
                section.goal(Goal::at_most(format!("{what}: below {BOUND} ms to the first line"), ms, BOUND));
                section.ours(what, figure);
            }
            _ if index == ours => section.limit(what, figure),
            // It waits on a clock of its own, the same on a fast machine and on a slow one: a ratio to work says nothing.
            _ => section.text(format!("{what} until `true` has run: {} ms.", short(ms))),
        }
    }
    report.add(section);
}

/// A workspace of a user with so many secrets, whose script ends the run.
fn stopwatch(world: &World, secrets: usize) -> Workspace {
    let user = world.env.user(&format!("boot-{secrets}"));
    for number in 0..secrets / 2 {
        user.secret(&format!("variable-{number}"), &["--env", &format!("SECRET_{number}")]);
        user.secret(&format!("file-{number}"), &["--file", &format!("~/.secrets/{number}/token")]);
    }
    world.stopwatch(&user)
}

fn home(workspace: &Workspace, fresh: bool) -> String {
    format!("homes/{}-{}-{fresh}", workspace.owner, workspace.name)
}

fn boot(world: &World, workspace: &Workspace, what: &str, socket: &str, fresh: bool) -> Contender {
    let env = &world.env;
    let home = env.new_home(&home(workspace, fresh)).display().to_string();
    let logs = env.path("logs").display().to_string();
    let as_root = if rustix::process::geteuid().is_root() { " --allow-root" } else { "" };
    let contender = Contender::new(what, format!("{} agent --log-dir {logs}{as_root}", binaries().coder.display()))
        .variable("HOME", &home)
        .variable("CODER_AGENT_URL", world.server.url())
        .variable("CODER_AGENT_TOKEN", workspace.token())
        .variable("CODER_AGENT_SOCKET", socket)
        .killed();
    if !fresh {
        return contender;
    }
    // Not removed, and on the disk, for the reasons that the writes have.
    let former = env.new_home(&format!("homes/{}-former", workspace.owner)).display().to_string();
    contender.prepare(format!("sh -c 'mv {home} {former}/$$ && mkdir {home} && sync -f {home}'"))
}
