//! What git over SSH costs with the owner's key: `coder gitssh` beside ssh with a key file, against the same sshd.

use std::fs;

use tests::{GitHost, Need, Sshd, binaries, requires};

use crate::report::Report;
use crate::rounds::{Contender, overhead};
use crate::section::{Goal, Section};
use crate::world::World;

const GOAL: &str = "`coder gitssh`: less than 10 ms more than ssh with a key file";

pub fn measure(world: &mut World, report: &mut Report) {
    let mut login = Section::new("A login with the key in the agent instead of a file", "ms");
    let mut fetch = Section::new("`git ls-remote` with the key in the agent instead of a file", "ms");
    if requires("gitssh", &Sshd::NEEDS) && requires("gitssh", &[Need::Program("git", "git")]) {
        let more = compete(world, &mut login, &mut fetch);
        login.goal(Goal::at_most(GOAL, more, 10.0));
    } else {
        login.goal(Goal::unknown(GOAL, "needs git and openssh-server"));
    }
    report.add(login);
    report.add(fetch);
}

/// How much longer a login takes with ours.
fn compete(world: &World, login: &mut Section, fetch: &mut Section) -> f64 {
    let env = &world.env;
    let host = GitHost::start(env, "git-host");
    let agent = env.agent(&world.server, &world.idle).start().listening();
    let key = env.home().join("id");
    let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &key.display().to_string()];
    let _ = env.program("/usr/bin/ssh-keygen").args(generate).run().success();
    let file = fs::read_to_string(key.with_extension("pub")).expect("a public key");
    let coders = world.alice.coder(["publickey"]).run().success().stdout;
    host.authorize_only(&format!("{}\n{}", file.trim(), coders.trim()));
    let repository = env.path("work/tool.git").display().to_string();
    let _ = env.program("/usr/bin/git").args(["init", "-q", "--bare", &repository]).run().success();

    let plain = format!("ssh -F {} -i {}", host.config().display(), key.display());
    let ours = format!("{} gitssh -- -F {}", binaries().coder.display(), host.config().display());
    let git = format!("git ls-remote git-host:{repository}");
    let contender = |what: &str, command: String| {
        Contender::new(what, command).variable("CODER_AGENT_SOCKET", agent.socket().display().to_string())
    };
    let logins = [
        contender("`coder gitssh -- host true`", format!("{ours} git-host true")),
        contender("`ssh -i FILE host true`", format!("{plain} git-host true")),
    ];
    let fetches = [
        contender("with `coder gitssh`", git.clone()).variable("GIT_SSH_COMMAND", ours),
        contender("with `ssh -i FILE`", git).variable("GIT_SSH_COMMAND", plain),
    ];
    overhead(env, &fetches, fetch);
    overhead(env, &logins, login)
}
