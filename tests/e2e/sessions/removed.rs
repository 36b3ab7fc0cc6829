//! The socket is still found after somebody has removed it, or wants to.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use tests::{LONG, Need, binaries, requires, wait_until};

use super::*;

#[test]
fn a_socket_that_was_removed_is_made_again() {
    let world = with_key();
    let mut agent = ready(&world);
    for names in [&["agent.sock"][..], &["agent.sock.lock"], &["agent.sock", "agent.sock.lock"]] {
        for name in names {
            fs::remove_file(agent.home().join(name)).unwrap();
        }
        let there = || names.iter().all(|name| agent.home().join(name).exists());
        wait_until("the socket and its lock", LONG, there);
        let _ = agent.coder(["exec", "sh", "-c", COMPARE]).run().success();
        let second = world.agent().env("CODER_AGENT_SOCKET", agent.socket()).into_run().run().exits(2);
        let _ = second.complains(&format!("another agent of this user runs already as process {}", agent.pid()));
    }
    let _ = agent.line_with("the socket for sessions was removed; listening again", LONG);
}

/// Outside of `/tmp`, over which the tests below mount another one.
struct Elsewhere {
    dir: tempfile::TempDir,
    home: PathBuf,
}

impl Elsewhere {
    fn new(uid: u32, value: &str) -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(&binaries().coder, dir.path().join("coder")).unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("expected"), value).unwrap();
        fs::write(dir.path().join("compare"), COMPARE).unwrap();
        chown(&home, Some(uid), Some(uid)).unwrap();
        Self { dir, home }
    }

    /// Runs `script` where `/tmp` and `/run` are empty. It has `$coder`, `$compare`, `$uid`, `$conf`, and `until_socket PATH`.
    fn run(&self, world: &World, uid: u32, script: &str) -> tests::Output {
        let path = |name: &str| self.dir.path().join(name);
        let prelude = "set -eu; mount -t tmpfs -o mode=1777 none /tmp; mount -t tmpfs none /run
            as_user=\"setpriv --reuid=$uid --regid=$uid --clear-groups\"
            until_socket() { tries=0; until [ -S $1 ]; do tries=$((tries + 1)); [ $tries -lt 2000 ]; sleep 0.02; done; }
            trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n";
        let run = world.env.program("/usr/bin/unshare").args(["-m", "bash", "-c"]).arg(format!("{prelude}{script}"));
        run.env("coder", path("coder"))
            .env("compare", path("compare"))
            .env("conf", path("clean.conf"))
            .env("uid", uid.to_string())
            .env("HOME", &self.home)
            .env("TMPDIR", "/tmp")
            .env("CODER_AGENT_URL", world.server.url())
            .env("TOKEN", world.workspace.token())
            .cwd("/")
            .run()
    }
}

/// All that has no protection goes at once, whatever its age.
#[test]
fn systemd_tmpfiles_cleans_around_an_agent_that_lives() {
    let needs = [
        Need::Root,
        Need::Program("setpriv", "util-linux"),
        Need::Program("unshare", "util-linux"),
        Need::Program("systemd-tmpfiles", "systemd"),
    ];
    if !requires("systemd_tmpfiles_cleans_around_an_agent_that_lives", &needs) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    // Nobody knows its name, so its place is in /tmp.
    let uid = 2_000_000_001;
    let elsewhere = Elsewhere::new(uid, &value);
    fs::write(elsewhere.dir.path().join("clean.conf"), "d /tmp 1777 root root 0\n").unwrap();
    let script = r"
        CODER_AGENT_TOKEN=$TOKEN $as_user $coder agent &
        until_socket /tmp/coder-agent-$uid/agent.sock
        $as_user $coder exec --wait 1m sh $compare
        $as_user mkdir /tmp/chosen
        CODER_AGENT_TOKEN=$TOKEN CODER_AGENT_SOCKET=/tmp/chosen/agent.sock $as_user $coder agent &
        until_socket /tmp/chosen/agent.sock
        mkdir /tmp/unprotected
        systemd-tmpfiles --clean $conf
        test ! -e /tmp/unprotected
        $as_user $coder exec sh $compare
        CODER_AGENT_SOCKET=/tmp/chosen/agent.sock $as_user $coder exec --wait 1m sh $compare
        stat -c '%a %u' /tmp/coder-agent-$uid /tmp/chosen/agent.sock";
    let output = elsewhere.run(&world, uid, script).success();
    assert_eq!(output.stdout, format!("700 {uid}\n600 {uid}\n"));
    assert!(!output.stderr.contains("the socket for sessions was removed; listening again socket=/tmp/coder-agent"));
}

/// Whoever is first in `/tmp` cannot cut others off from an agent that listens in `/run`.
#[test]
fn a_place_that_is_not_private_is_skipped() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux"), Need::Program("unshare", "util-linux")];
    if !requires("a_place_that_is_not_private_is_skipped", &needs) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let elsewhere = Elsewhere::new(0, &value);
    let script = r"
        mkdir /tmp/coder-agent-0; chmod 0777 /tmp/coder-agent-0; chown 65534 /tmp/coder-agent-0
        CODER_AGENT_TOKEN=$TOKEN $coder agent --allow-root &
        until_socket /run/coder-agent/root/agent.sock
        $coder exec --wait 1m sh $compare
        kill $!; wait $! || true
        $coder exec true || echo failed with $?";
    let output = elsewhere.run(&world, 0, script).success().says("failed with 1");
    let _ = output.complains(
        "nothing listens on /run/coder-agent/root/agent.sock; skipped: directory /tmp/coder-agent-0 must be the user's own",
    );
}
