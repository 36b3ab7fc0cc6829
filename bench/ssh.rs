//! What a login over SSH costs more because of `coder session`: the same user at two sshds that differ in the drop-in.

use std::fs;
use std::path::Path;

use tests::{Account, Env, LONG, Need, Process, Sshd, Workspace, binaries, drop_in, requires, wait_until};

use crate::exec;
use crate::report::Report;
use crate::rounds::{Contender, overhead};
use crate::section::{Goal, Section};
use crate::world::World;

const GOAL: &str = "a command over SSH with 50 secrets and 50 template variables: at most 5 ms more by `coder session`";
const MOST: f64 = 5.0;

pub fn measure(world: &mut World, report: &mut Report) {
    let mut session =
        Section::new("Run a command over an open SSH connection, with 50 secrets and 50 template variables", "ms");
    session.text("What a session itself costs: `ssh` asks its master (ControlPath) for one that runs `true`.");
    let mut login = Section::new("The same with a login each", "ms");
    login.text("Connection, keys, the command `true`, and the end.");
    // The drop-in is not for root, and accounts are made by root.
    if requires("ssh", &[Need::Root, Need::Program("useradd", "passwd")]) && requires("ssh", &Sshd::NEEDS) {
        compete(world, &mut session, &mut login);
    } else {
        session.goal(Goal::unknown(GOAL, "needs root and an sshd"));
    }
    report.add(session);
    report.add(login);
}

fn compete(world: &World, session: &mut Section, login: &mut Section) {
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
    let ours = Sshd::start(env, "sshd-session", &drop_in(&bin.join("coder")));
    let [plain, ours] = [plain, ours].map(|sshd| (sshd.client_config("h", &client).display().to_string(), sshd));
    let contenders = |settings: [&str; 2]| {
        [("through `coder session`", &ours.0, settings[0]), ("the same sshd without it", &plain.0, settings[1])]
            .map(|(what, config, setting)| Contender::new(what, format!("ssh -F {config} {setting} h true")))
    };
    let logins = contenders(["", ""]);
    assert!(logins[0].delivers(env, &variables), "a session has the variables");
    overhead(env, &logins, login);

    let masters = [&ours.0, &plain.0].map(|config| Master::start(env, config));
    let sessions = contenders(masters.each_ref().map(|master| master.option.as_str()));
    assert!(sessions[0].delivers(env, &variables), "a session of an open connection has the variables");
    let more = overhead(env, &sessions, session);
    session.goal(Goal::at_most(GOAL, more, MOST));
}

/// An open connection that other clients share.
struct Master {
    option: String,
    _process: Process,
}

impl Master {
    fn start(env: &Env, config: &str) -> Self {
        let socket = Path::new(config).with_file_name("master");
        let option = format!("-S {}", socket.display());
        let process = env.program("/usr/bin/ssh").args(["-F", config, "-M", "-N"]).args(option.split(' ')).arg("h");
        let process = process.spawn("ssh-master");
        wait_until("an open connection", LONG, || socket.exists());
        Self { option, _process: process }
    }
}

/// An agent of the account that is ready.
fn agent(world: &World, account: &Account, workspace: &Workspace) -> Process {
    let logs = account.home.join("logs");
    let run = world.env.coder(["agent", "--agent-url", world.server.url(), "--user", &account.name, "--log-dir"]);
    let agent = run.arg(logs).env("CODER_AGENT_TOKEN", workspace.token()).spawn("agent");
    workspace.wait_lifecycle("ready");
    agent
}
