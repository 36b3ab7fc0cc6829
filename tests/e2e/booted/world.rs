//! The machine, set up by the commands of docs/operations.md and the README, and its users.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::{Env, Run, User, nasty};

use super::machine::Machine;

pub(super) const SERVER: &str = "coder-server.service";
const URL: &str = "http://127.0.0.1:7080";

/// What the tests of this theme have in common. alice has the nasty values and a file, bob one value of the largest size.
pub(super) struct Booted {
    pub(super) env: Env,
    pub(super) machine: Machine,
    pub(super) alice: User,
    pub(super) file: String,
}

/// The unit of this user's agent.
pub(super) fn agent_of(user: &str) -> String {
    format!("coder-agent@{user}.service")
}

impl Booted {
    pub(super) fn set_up(env: Env, machine: Machine) -> Self {
        machine.sh("systemd-sysusers && systemd-tmpfiles --create");
        machine.sh("systemctl enable --now coder-server");
        machine.sh("groupadd --system coder-workspace");
        env.server_at(URL);
        let alice = user(&env, &machine, "alice");
        nasty::store(&alice);
        let file = alice.secret("file", &["--file", "~/secrets/file"]);
        nasty::store_largest(&user(&env, &machine, "bob"));
        machine.sh("systemctl reload ssh");
        let world = Self { env, machine, alice, file };
        let generate = world.env.program("/usr/bin/ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]);
        let _ = generate.arg(world.key()).run().success();
        let public = fs::read_to_string(world.key().with_extension("pub")).unwrap();
        for (user, home) in [("alice", "/home/alice"), ("bob", "/home/bob"), ("root", "/root")] {
            world.machine.write(&format!("{home}/.ssh/authorized_keys"), "0644", &public);
            world.machine.sh(&format!("chown -R {user} {home}/.ssh && chmod 0700 {home}/.ssh"));
        }
        world
    }

    fn key(&self) -> PathBuf {
        self.env.home().join("id")
    }

    /// `ssh` to the machine's sshd as `user`; a command may follow. Its terminal is one without colours.
    pub(super) fn ssh(&self, user: &str) -> Run {
        let ssh = self.env.program("/usr/bin/ssh").args(["-F", "none", "-i"]).arg(self.key()).args(["-l", user]);
        let options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"];
        options.iter().fold(ssh, |ssh, option| ssh.args(["-o", option])).arg("127.0.0.1").env("TERM", "dumb")
    }

    /// Starts the agent of `user`, now and at each boot, and returns when it is ready.
    pub(super) fn start(&self, user: &str) {
        self.machine.sh(&format!("systemctl enable --now coder-agent@{user}"));
    }

    /// A file of the machine's disk while it is off.
    pub(super) fn file_of_disk(&self, path: &str) -> String {
        let path = self.env.path("machine").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// alice's agent, as the administrator sees it.
    pub(super) fn show_agent(&self) -> Value {
        let show = admin("workspace show alice/dev --json");
        self.machine.run(["sh", "-euc", &show]).run().success().json()["agents"][0].take()
    }
}

/// The account that owns the database is the only one that may administer it.
fn admin(command: &str) -> String {
    format!("runuser -u coder-server -- coder-server {command} --data-dir /var/lib/coder-server")
}

/// A user of the server and of the machine, with a workspace and an agent that is set up and not started.
fn user(env: &Env, machine: &Machine, name: &str) -> User {
    machine.sh(&format!(
        "useradd --create-home --shell /bin/bash --password '*' {name} && usermod -aG coder-workspace {name}"
    ));
    let create = admin(&format!("user create {name} --json"));
    let created = machine.run(["sh", "-euc", &create]).reveals().run().success().json();
    let definition = format!(
        "owner: {name}\nname: dev\nagent:\n  name: main\n  env: {{ MULTILINE: of the template }}\n  scripts:\n  \
         - {{ display_name: Keep, script: \"env -0 > ~/script; echo up\", run_on_start: true }}\n  \
         - {{ display_name: Stop, script: \"echo stopped > ~/stopped\", run_on_stop: true }}\n\
         env:\n- {{ name: PATH, value: /opt/tools/bin, merge_strategy: prepend }}\n"
    );
    machine.write(&format!("/srv/{name}.yaml"), "0644", definition);
    let apply = admin(&format!("workspace apply /srv/{name}.yaml --json"));
    let applied = machine.run(["sh", "-euc", &apply]).reveals().run().success().json();
    let token = applied["workspaces"][0]["agents"][0]["token"].as_str().expect("a token").to_owned();
    env.watch(&format!("token of the agent of {name}"), token.as_bytes());
    machine.sh("install -d -m 0755 /etc/coder-agent");
    machine.sh(&format!("echo 'CODER_AGENT_URL={URL}' > /etc/coder-agent/{name}.env"));
    machine.write(&format!("/etc/coder-agent/{name}.token"), "0600", token);
    // Values and tokens belong there. All else that the machine writes to its disk is searched for them.
    for home in [format!("home/{name}"), "etc/coder-agent".to_owned()] {
        env.new_home(&format!("machine/{home}"));
    }
    env.user_with_token(name, created["session_token"].as_str().expect("a session token"))
}
