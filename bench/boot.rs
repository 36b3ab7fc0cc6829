//! How long a developer waits.

use tests::binaries;

use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

pub fn measure(world: &mut World, report: &mut Report) {
    let contenders = [boot(world, false), boot(world, true), list(world)];
    let figures = race(&world.env, &contenders);
    let mut section = Section::new("Time", "ms");
    section.text("From `coder agent` to the first instruction of the startup script, which kills it.");
    for (contender, figure) in contenders.iter().zip(&figures) {
        section.ours(&contender.what, *figure);
    }
    section.goal(Goal::at_most("boot of 50 secrets, files as they were: below 15 ms", figures[0].median, 15.0));
    section.goal(Goal::at_most("boot of 50 secrets, an empty home: below 15 ms", figures[1].median, 15.0));
    section.goal(Goal::at_most("`coder secret list`: below 10 ms", figures[2].median, 10.0));
    report.add(section);
}

fn boot(world: &World, fresh: bool) -> Contender {
    let env = &world.env;
    let which = if fresh { "an empty home" } else { "files as they were" };
    let home = env.new_home(&format!("homes/boot-{fresh}")).display().to_string();
    let logs = env.path("logs").display().to_string();
    let as_root = if rustix::process::geteuid().is_root() { " --allow-root" } else { "" };
    let contender = Contender::new(
        format!("`coder agent` to the first instruction of the startup script, 50 secrets (25 files), {which}"),
        format!("{} agent --log-dir {logs}{as_root}", binaries().coder.display()),
    )
    .variable("HOME", &home)
    .variable("CODER_AGENT_URL", world.server.url())
    .variable("CODER_AGENT_TOKEN", world.stopwatch.token())
    .variable("CODER_AGENT_SOCKET", format!("{}/agent.sock", env.path("tmp").display()))
    .killed();
    if fresh { contender.prepare(format!("rm -rf {home}/.secrets")) } else { contender }
}

fn list(world: &World) -> Contender {
    Contender::new("`coder secret list`, 50 secrets", format!("{} secret list", binaries().coder.display()))
        .variable("CODER_URL", world.server.url())
        .variable("CODER_SESSION_TOKEN", &world.alice.token)
}
