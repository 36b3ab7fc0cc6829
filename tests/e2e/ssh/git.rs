//! git in a login, in a startup script and in `exec`: a real sshd on both hops, and an ordinary account in between.

use std::fs;

use tests::{GitHost, LONG, Need, Process, requires};

use super::logins::Logins;

const DEFINITION: &str = "owner: alice\nname: git\nagent:\n  name: main\n  scripts:\n  - { display_name: clone, \
                          run_on_start: true, timeout: 120, script: git clone -q git-host:tool.git ~/by-script }\n";

const WORK: &str = "set -e
git clone -q git-host:tool.git ~/clone 2>/dev/null
cd ~/clone
git -c user.name=A -c user.email=a@example.com commit -q --allow-empty -m first
git push -q origin HEAD:main
git fetch -q
git log --format=%s origin/main
eval \"$GIT_SSH_COMMAND git-host git-lfs-authenticate tool.git upload\"";

impl Logins {
    /// A git host that knows alice's key, and an agent whose startup script clones from there.
    fn git_host(&self) -> (GitHost, Process) {
        let host = GitHost::start(&self.env, "git-host");
        host.authorize_only(&self.alice.coder(["publickey"]).run().success().stdout);
        host.install("git-lfs-authenticate", "echo lfs $*");
        self.account.write(".ssh/config", &fs::read_to_string(host.config()).unwrap());
        let (home, name) = (self.account.home.display(), &self.account.name);
        let script = format!("git init -q --bare -b main {home}/tool.git && chown -R {name} {home}/tool.git");
        let _ = self.env.program("/bin/sh").args(["-c", &script]).run().success();
        // From where the account may run it, since that is what git is told.
        let agent = self.env.program(self.env.path("bin/coder")).args(["agent", "--user", name, "--agent-url"]);
        let agent = agent.arg(self.server.url()).arg("--log-dir").arg(self.account.home.join("logs"));
        let agent = agent.env("CODER_AGENT_TOKEN", self.workspace.token()).spawn("agent");
        self.workspace.wait_lifecycle("ready");
        (host, agent)
    }
}

#[test]
fn git_reaches_its_host_with_the_owners_key_from_everywhere() {
    let test = "git_reaches_its_host_with_the_owners_key_from_everywhere";
    let Some(world) = Logins::of(test, DEFINITION) else { return };
    if !requires(test, &[Need::Program("git", "git"), Need::Program("setpriv", "util-linux")]) {
        return;
    }
    let _running = world.git_host();
    assert!(world.account.home.join("by-script/.git").exists());
    let login = world.ssh(["h", WORK]).limit(LONG).run().success();
    assert_eq!(login.stdout, "first\nlfs tool.git upload\n");
    let home = &world.account.home;
    let exec = world.env.program("/usr/bin/setpriv").args(["--reuid", &world.account.name, "--clear-groups"]);
    let exec = exec.arg(world.env.path("bin/coder")).args(["exec", "--", "git", "-C", "clone", "ls-remote", "origin"]);
    let listed = exec.env("HOME", home).cwd(home).run().success();
    assert!(listed.stdout.ends_with("\trefs/heads/main\n"), "{}", listed.stdout);
}
