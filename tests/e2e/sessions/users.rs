//! Users are kept apart: on one socket, and on one machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tests::{Env, Need, SHORT, binaries, requires, wait_until};

use super::*;

/// `nobody` of every distribution.
const OTHER: &str = "65534";

/// A directory that all users can enter, with the executable in it.
fn shared() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let coder = dir.path().join("coder");
    fs::copy(&binaries().coder, &coder).unwrap();
    (dir, coder)
}

fn as_user(env: &Env, uid: &str, program: &Path) -> tests::Run {
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
    env.program("/usr/bin/setpriv").args(ids).arg(program).cwd("/")
}

#[test]
fn another_user_who_connects_is_refused_and_recorded() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux")];
    if !requires("another_user_who_connects_is_refused_and_recorded", &needs) {
        return;
    }
    let world = World::with(DEV);
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let (dir, coder) = shared();
    let socket = dir.path().join("agent.sock");
    let mut agent = world.agent().env("CODER_AGENT_SOCKET", &socket).start();
    wait_until("the socket", SHORT, || socket.exists());
    let other = || as_user(&world.env, OTHER, &coder).args(["exec", "env"]).env("CODER_AGENT_SOCKET", &socket).run();

    let _ = other().exits(1).complains("Permission denied");
    // Somebody loosens the permissions.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = other().exits(1).complains("no answer from the agent");
    assert_eq!(refused.stdout, "");
    let line = agent.line_with("refused a connection", SHORT);
    assert!(line.contains("user 65534"), "{line}");
    let own = world.env.coder(["exec", "--wait", "1m", "true"]).env("CODER_AGENT_SOCKET", &socket).run();
    let _ = own.success();
}

#[test]
fn a_strangers_socket_is_told_nothing() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux"), Need::Program("python3", "python3-minimal")];
    if !requires("a_strangers_socket_is_told_nothing", &needs) {
        return;
    }
    let env = Env::new();
    let (dir, _) = shared();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let socket = dir.path().join("agent.sock");
    let listen = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print('listening', flush=True)
print('heard', s.accept()[0].recv(100), flush=True)";
    let mut stranger =
        as_user(&env, OTHER, Path::new("/usr/bin/python3")).args(["-c", listen]).arg(&socket).spawn("stranger");
    let _ = stranger.line_with("listening", SHORT);
    let output = env.coder(["exec", "true"]).env("CODER_AGENT_SOCKET", &socket).run().exits(1);
    let _ = output.complains("refused to talk to").complains("user 65534 listens there");
    assert_eq!(stranger.line_with("heard", SHORT), "heard b''");
}

/// In a mount namespace of its own, where `/run` is empty: each finds its own agent in the fixed place.
#[test]
fn two_users_of_one_machine_have_an_agent_each() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux"), Need::Program("unshare", "util-linux")];
    if !requires("two_users_of_one_machine_have_an_agent_each", &needs) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let bob = world.env.user("bob");
    let bobs = bob.secret("api-key", &["--env", "API_KEY"]);
    let of_bob = world.env.workspace("owner: bob\nname: dev\nagent: { name: main }\n");
    let (dir, coder) = shared();
    // Homes of both, where values may be; the scratch directory itself is closed to nobody.
    let homes = world.env.new_home("homes/two");
    fs::write(homes.join("expected"), &value).unwrap();
    let nobodys = dir.path().join("nobody");
    fs::create_dir(&nobodys).unwrap();
    fs::write(nobodys.join("expected"), &bobs).unwrap();
    std::os::unix::fs::chown(&nobodys, Some(65_534), Some(65_534)).unwrap();
    fs::write(dir.path().join("compare"), COMPARE).unwrap();
    let script = r#"
set -eu
mount -t tmpfs none /run
CODER_AGENT_TOKEN=$ALICE HOME=$1 $2 agent --allow-root --log-dir "$1" & first=$!
CODER_AGENT_TOKEN=$BOB $2 agent --user nobody --log-dir "$3" & second=$!
trap 'kill $first $second; wait' EXIT
tries=0
until [ -S /run/coder-agent/root/agent.sock ] && [ -S /run/coder-agent/nobody/agent.sock ]; do
  tries=$((tries + 1)); [ $tries -lt 1000 ]; sleep 0.02
done
unset CODER_AGENT_URL
HOME=$1 $2 exec --wait 1m sh "$4/compare"
HOME=$3 setpriv --reuid=65534 --regid=65534 --clear-groups $2 exec --wait 1m sh "$4/compare"
stat -c '%a %u %n' /run/coder-agent/*
"#;
    let run = world.env.program("/usr/bin/unshare").args(["-m", "sh", "-c", script, "sh"]);
    let run =
        run.arg(&homes).arg(&coder).arg(&nobodys).arg(dir.path()).cwd("/").env("CODER_AGENT_URL", world.server.url());
    let run = run.env("ALICE", world.workspace.token()).env("BOB", of_bob.token());
    let _ = run.run().success().says("700 65534 /run/coder-agent/nobody\n700 0 /run/coder-agent/root\n");
}

/// A user that no database knows has a private directory in /tmp; who plants it first gains nothing.
#[test]
fn without_a_name_the_place_is_private_and_nobody_can_plant_it() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux")];
    if !requires("without_a_name_the_place_is_private_and_nobody_can_plant_it", &needs) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let (dir, coder) = shared();
    // A number that no other run of this test has.
    let uid = (2_000_000_000 + std::process::id()).to_string();
    let place = PathBuf::from(format!("/tmp/coder-agent-{uid}"));
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("expected"), &value).unwrap();
    std::os::unix::fs::chown(&home, uid.parse().ok(), uid.parse().ok()).unwrap();
    let user = |args: &[&str]| as_user(&world.env, &uid, &coder).args(args).env("HOME", &home);
    let start = || {
        let agent = user(&["agent", "--agent-url", world.server.url(), "--log-dir", home.to_str().unwrap()]);
        agent.env("CODER_AGENT_TOKEN", world.workspace.token()).spawn("agent")
    };

    let mut agent = start();
    wait_until("the socket", SHORT, || place.join("agent.sock").exists());
    let _ = user(&["exec", "--wait", "1m", "sh", "-c", COMPARE]).run().success();
    let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    agent.terminate();

    fs::remove_dir_all(&place).unwrap();
    fs::create_dir(&place).unwrap();
    let mut agent = start();
    let _ = agent.line_with("must be the user's own and closed to all others", SHORT);
    let _ = agent.line_with("delivered 1 variable", SHORT);
    let _ = user(&["exec", "true"]).run().exits(1).complains("must be the user's own and closed to all others");
    fs::remove_dir(&place).unwrap();
}
