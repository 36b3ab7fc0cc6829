//! What a login over SSH costs more because of `coder session`: the same user at two sshds that differ in the drop-in.

use std::fs;

use tests::{Account, Need, Process, Sshd, Workspace, binaries, drop_in, requires};

use crate::exec;
use crate::report::Report;
use crate::rounds::{Contender, race};
use crate::section::{Goal, Section};
use crate::world::World;

const GOAL: &str = "a command over SSH with 50 secrets and 50 template variables: at most 5 ms more by `coder session`";
const MOST: f64 = 5.0;

pub fn measure(world: &mut World, report: &mut Report) {
    let mut section = Section::new("Run a command over SSH with 50 secrets and 50 template variables", "ms");
    section.text("A whole login each: connection, keys, the command `true`, and the end.");
    // The drop-in is not for root, and accounts are made by root.
    if requires("ssh", &[Need::Root, Need::Program("useradd", "passwd")]) && requires("ssh", &Sshd::NEEDS) {
        compete(world, &mut section);
    } else {
        section.goal(Goal::unknown(GOAL, "needs root and an sshd"));
    }
    report.add(section);
}

fn compete(world: &World, section: &mut Section) {
    let env = &world.env;
    let (workspace, variables) = exec::workspace(world, "ssh", 50, 50);
    let account = Account::create(env, "homes/ssh");
    // Where the account may run it.
    let bin = env.new_home("bin");
    fs::copy(&binaries().coder, bin.join("coder")).expect("copy coder");
    let _agent = agent(world, &account, &workspace);
    let key = env.new_home("homes/ssh-client").join("id").display().to_string();
    let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &key];
    let _ = env.program("/usr/bin/ssh-keygen").args(generate).run().success();
    account.write(".ssh/authorized_keys", &fs::read_to_string(format!("{key}.pub")).expect("a public key"));

    let client = format!(" User {}\n IdentityFile {key}\n IdentitiesOnly yes\n", account.name);
    let plain = Sshd::start(env, "sshd-plain", "");
    let session = Sshd::start(env, "sshd-session", &drop_in(&bin.join("coder")));
    let login = |what: &str, sshd: &Sshd| {
        Contender::new(what, format!("ssh -F {} h true", sshd.client_config("h", &client).display()))
    };
    let contenders = [login("through `coder session`", &session), login("the same sshd without it", &plain)];
    assert!(contenders[0].delivers(env, &variables), "a session has the variables");
    let figures = race(env, &contenders);
    section.ours(&contenders[0].what, figures[0]);
    section.limit(&contenders[1].what, figures[1]);
    section.goal(Goal::at_most(GOAL, figures[0].median - figures[1].median, MOST));
}

/// An agent of the account that is ready.
fn agent(world: &World, account: &Account, workspace: &Workspace) -> Process {
    let logs = account.home.join("logs");
    let run = world.env.coder(["agent", "--agent-url", world.server.url(), "--user", &account.name, "--log-dir"]);
    let agent = run.arg(logs).env("CODER_AGENT_TOKEN", workspace.token()).spawn("agent");
    workspace.wait_lifecycle("ready");
    agent
}
