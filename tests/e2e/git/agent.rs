//! With an agent in the workspace, which signs and never gives the key away.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use tests::{Agent, Fault, Proxy, Run, Workspace};

use super::fixture::Git;

/// Repositories with something to fetch, and a clone of all of them in one.
const SUBMODULES: &str = "set -e
for part in 0 1 2 3 4 5 6 7; do
  git init -q --bare -b main $REPOSITORIES/part$part.git
  git clone -q $REPOSITORIES/part$part.git part$part 2>/dev/null
  git -C part$part commit -q --allow-empty -m first
  git -C part$part push -q origin HEAD:main
done
git init -q --bare -b main $REPOSITORIES/whole.git
git init -q whole
for part in 0 1 2 3 4 5 6 7; do
  git -C whole -c protocol.file.allow=always submodule --quiet add $REPOSITORIES/part$part.git
done
git -C whole commit -qm parts
git -C whole remote add origin git-host:$REPOSITORIES/whole.git
git -C whole push -q $REPOSITORIES/whole.git HEAD:main
for part in 0 1 2 3 4 5 6 7; do
  git -C whole/part$part remote set-url origin git-host:$REPOSITORIES/part$part.git
  git -C part$part commit -q --allow-empty -m second
  git -C part$part push -q origin HEAD:main
done";

impl Git {
    /// An agent whose workspace has an ssh that knows the git host.
    pub(super) fn agent(&self, server: &impl AsRef<str>, workspace: &Workspace) -> Agent {
        let agent = self.env.agent(server, workspace).env("PATH", self.path()).start().listening();
        let _ = agent.coder(["exec", "--wait", "60s", "true"]).run().success();
        agent
    }

    /// A `PATH` with that ssh; it writes a line each time it logs in somewhere.
    pub(super) fn path(&self) -> String {
        let (dir, ssh) = (self.env.path("bin"), self.env.path("bin/ssh"));
        if !ssh.exists() {
            fs::create_dir_all(&dir).unwrap();
            let (logins, config) = (self.env.path("work/logins"), self.config());
            let count = format!("[ \"$1\" = -G ] || echo >> '{}'", logins.display());
            fs::write(&ssh, format!("#!/bin/sh\n{count}\nexec /usr/bin/ssh -F '{}' \"$@\"\n", config.display()))
                .unwrap();
            fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
        }
        format!("{}:/usr/local/bin:/usr/bin:/bin", dir.display())
    }

    /// A program of the workspace. It has what the agent sets: no address of a server and no token.
    pub(super) fn exec<'a>(&self, agent: &Agent, args: impl IntoIterator<Item = &'a str>) -> Run {
        let run = agent.coder(["exec", "--"]).args(args);
        run.env("PATH", self.path()).env("XDG_RUNTIME_DIR", self.env.path("run"))
    }
}

fn key_requests(proxy: &Proxy) -> usize {
    proxy.requests().iter().filter(|request| request.contains("gitsshkey")).count()
}

#[test]
fn a_fetch_of_many_submodules_costs_one_request() {
    let Some(world) = Git::new("a_fetch_of_many_submodules_costs_one_request") else { return };
    world.authorize();
    let repositories = world.env.path("repositories");
    let set_up = world.env.program("/bin/sh").args(["-c", SUBMODULES]).env("REPOSITORIES", &repositories);
    let _ = set_up.run().success();
    let proxy = Proxy::new(&world.server);
    let agent = world.agent(&proxy, &world.workspace);
    let fetch = ["git", "-C", "whole", "fetch", "--recurse-submodules=yes", "--jobs=16"];
    let _ = world.exec(&agent, fetch).run().success();
    for part in 0..8 {
        let log = world.git(["-C", &format!("whole/part{part}"), "log", "-1", "--format=%s", "origin/main"]).success();
        assert_eq!(log.stdout, "second\n");
    }
    assert_eq!(fs::read_to_string(world.env.path("work/logins")).unwrap().lines().count(), 9);
    assert_eq!(key_requests(&proxy), 1);
}

#[test]
fn scripts_and_exec_have_what_git_needs() {
    let Some(world) = Git::new("scripts_and_exec_have_what_git_needs") else { return };
    for algorithm in ["ed25519", "ecdsa"] {
        let world = if algorithm == "ed25519" { &world } else { &Git::start(algorithm) };
        world.authorize();
        world.repository("tool.git");
        let url = world.url("tool.git");
        let script = format!("printf %s \"$GIT_SSH_COMMAND\" > ~/command; git clone '{url}' ~/clone");
        let workspace = world.env.workspace(&format!(
            "owner: alice\nname: scripted\nagent:\n  name: main\n  scripts:\n  - {{ display_name: clone, timeout: 60, \
             run_on_start: true, script: {} }}\n",
            serde_json::Value::from(script)
        ));
        let agent = world.agent(&world.server, &workspace);
        workspace.wait_lifecycle("ready");
        assert!(agent.read("command").ends_with("' gitssh --"), "{}", agent.read("command"));
        let clone = agent.home().join("clone").display().to_string();
        let git = |args: &[&str]| world.exec(&agent, [&["git", "-C", &clone], args].concat()).run().success();
        world.set_up_signing();
        let _ = git(&["commit", "-q", "-S", "--allow-empty", "-m", "first"]);
        let _ = git(&["push", "-q", "origin", "HEAD:main"]);
        let _ = git(&["fetch", "-q"]);
        let signers = world.env.write("signers", format!("alice@example.com {}\n", world.public_key()));
        let setting = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        assert_eq!(git(&["-c", &setting, "log", "--format=%s %G?", "origin/main"]).stdout, "first G\n");
    }
}

#[test]
fn a_key_that_is_replaced_is_used_from_the_next_login_on() {
    let Some(world) = Git::new("a_key_that_is_replaced_is_used_from_the_next_login_on") else { return };
    world.authorize();
    let agent = world.agent(&world.server, &world.workspace);
    let login = || world.exec(&agent, ["coder-ssh"]).run();
    let coder = tests::binaries().coder.display().to_string();
    let script = format!("#!/bin/sh\nexec '{coder}' gitssh -- git-host echo in\n");
    fs::write(world.env.path("bin/coder-ssh"), script).unwrap();
    fs::set_permissions(world.env.path("bin/coder-ssh"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(login().success().stdout, "in\n");
    let _ = world.alice.coder(["publickey", "--reset", "--yes"]).run().success();
    world.watch_key();
    // The agent may still have the old one; what is shown is the new one, and then the agent has that too.
    world.authorize_only("");
    let _ = login().exits(255).complains("did not accept your Coder key").complains(&world.public_key());
    world.authorize();
    assert_eq!(login().success().stdout, "in\n");
}

#[test]
fn a_server_that_refuses_the_agent_is_no_obstacle_and_is_named() {
    let Some(world) = Git::new("a_server_that_refuses_the_agent_is_no_obstacle_and_is_named") else { return };
    let own = world.own_key("own");
    world.authorize_only(&own.public);
    let proxy = Proxy::new(&world.server);
    let agent = world.agent(&proxy, &world.workspace);
    proxy.set_for("gitsshkey", Fault::Answer(403));
    let coder = tests::binaries().coder.display().to_string();
    let ssh = |args: &[&str]| world.exec(&agent, [&[&coder, "gitssh", "--"], args].concat()).run();
    assert_eq!(ssh(&["-i", &own.path, "git-host", "echo in"]).success().stdout, "in\n");
    let failed = ssh(&["git-host", "true"]).exits(255).complains("Permission denied (publickey)");
    let _ = failed.complains("coder: your Coder key was not offered").complains("the server answers 403");
}

/// Whoever runs as the user may have things signed while the agent runs, and nothing more.
#[test]
fn the_agents_socket_signs_and_does_not_give_the_key_away() {
    let Some(world) = Git::new("the_agents_socket_signs_and_does_not_give_the_key_away") else { return };
    let agent = world.agent(&world.server, &world.workspace);
    // A question for the key, that it may have meant before.
    let mut answers = Vec::new();
    for question in [&[2, 0x20, 0][..], &[2, 0x20, 1], &[2, 0x20]] {
        let mut stream = UnixStream::connect(agent.socket()).unwrap();
        stream.write_all(&u32::try_from(question.len()).unwrap().to_le_bytes()).unwrap();
        stream.write_all(question).unwrap();
        stream.read_to_end(&mut answers).unwrap();
    }
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches(&world.public_key()).count(), 2, "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
    let _ = world.env.write("answers", &answers);
    world.env.hunt();
}
