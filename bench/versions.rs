//! Today's executables beside those of an earlier version, in the same rounds. `BENCH_EARLIER` names the directory that
//! `.ci/earlier` has filled.

use std::path::{Path, PathBuf};

use tests::{Process, Workspace, binaries};

use crate::exec;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

/// How many times as long as before something may take.
const SLOWER: f64 = 1.05;

pub fn measure(world: &mut World, report: &mut Report) {
    let Some(directory) = std::env::var_os("BENCH_EARLIER").map(PathBuf::from) else { return };
    let now = Version::start(world, "now", &binaries().coder);
    let before = Version::start(world, "before", &directory.join("coder"));
    let mut section = Section::new("Today's executables and those of an earlier version", "ms");
    for what in ["`coder exec`, 50 secrets", "`coder secret list`, 50 secrets", "`coder --version`"] {
        let figures = race(&world.env, &[now.contender(world, what), before.contender(world, what)]);
        let ratio = figures[0].median / figures[1].median;
        section.goal(Goal::at_most(format!("{what}: at most {SLOWER} times as long as before"), ratio, SLOWER));
        for (figure, version) in figures.into_iter().zip(["now", "before"]) {
            section.limit(format!("{what}, {version}"), figure);
        }
    }
    report.add(section);
}

/// An executable and an agent of it, which has delivered.
struct Version {
    program: String,
    socket: String,
    _workspace: Workspace,
    _agent: Process,
}

impl Version {
    fn start(world: &World, name: &str, program: &Path) -> Self {
        let (workspace, _) = exec::workspace(world, &format!("version-{name}"), 50, 0);
        let home = world.env.new_home(&format!("homes/version-{name}"));
        let program = program.display().to_string();
        let socket = home.join("agent.sock").display().to_string();
        let agent = world.env.program(&program).args(["agent", "--log-dir"]).arg(world.env.path("logs"));
        let agent = agent
            .env("HOME", &home)
            .env("CODER_AGENT_URL", world.server.url())
            .env("CODER_AGENT_TOKEN", workspace.token())
            .env("CODER_AGENT_SOCKET", &socket)
            .env("CODER_AGENT_ALLOW_ROOT", "true")
            .spawn(&format!("agent-{name}"));
        let wait = world.env.program(&program).args(["exec", "--wait", "1m", "true"]);
        let _ = wait.env("CODER_AGENT_SOCKET", &socket).run().success();
        Self { program, socket, _workspace: workspace, _agent: agent }
    }

    fn contender(&self, world: &World, what: &str) -> Contender {
        let args = match what {
            "`coder exec`, 50 secrets" => "exec true",
            "`coder secret list`, 50 secrets" => "secret list",
            _ => "--version",
        };
        Contender::new(what, format!("{} {args}", self.program))
            .variable("CODER_AGENT_SOCKET", &self.socket)
            .variable("CODER_URL", world.server.url())
            .variable("CODER_SESSION_TOKEN", &world.alice.token)
    }
}
