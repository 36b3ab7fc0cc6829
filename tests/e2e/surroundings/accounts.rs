//! Users whom the machine does not know, or has no home for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tests::{DEV, LONG, Need, World, binaries, requires};

/// Nobody has it.
const UID: &str = "2000000123";

/// A place that every user can enter, with the executable in it.
fn shared() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let coder = dir.path().join("coder");
    fs::copy(&binaries().coder, &coder).unwrap();
    (dir, coder)
}

const NEEDS: [Need; 3] = [Need::Root, Need::Program("setpriv", "util-linux"), Need::Program("unshare", "util-linux")];

/// As in an image with `USER 1000` and no such user.
#[test]
fn a_home_that_cannot_be_written_is_named_with_what_that_costs() {
    if !requires("a_home_that_cannot_be_written_is_named_with_what_that_costs", &NEEDS) {
        return;
    }
    let world = World::with(DEV);
    world.alice.secret("token", &["--file", "~/.token"]);
    let (dir, coder) = shared();
    let ids = [format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".to_owned()];
    let run = world.env.program("/usr/bin/setpriv").args(ids).arg(&coder).args(["agent", "--agent-url"]);
    let run = run.arg(world.server.url()).env("CODER_AGENT_TOKEN", world.workspace.token());
    let mut agent = run.env("HOME", "/").env("TMPDIR", dir.path()).cwd("/").spawn("agent");
    let _ = agent.line_with(&format!("HOME is \"/\", which uid {UID} cannot write: files below ~ will fail"), LONG);
    let _ = agent.line_with("1 problem", LONG);
    assert_eq!(agent.terminate().code, Some(0));
}

/// podman makes it readable for root alone.
#[test]
fn without_a_passwd_file_that_can_be_read_it_goes_on_as_a_user_without_an_entry() {
    if !requires("without_a_passwd_file_that_can_be_read_it_goes_on_as_a_user_without_an_entry", &NEEDS) {
        return;
    }
    let world = World::with(DEV);
    let value = world.alice.secret("token", &["--env", "TOKEN"]);
    let (dir, coder) = shared();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("expected"), value).unwrap();
    std::os::unix::fs::chown(&home, UID.parse().ok(), UID.parse().ok()).unwrap();
    let script = r#"set -eu
        touch $scratch/passwd $scratch/run; chmod 0600 $scratch/passwd
        mount --bind $scratch/passwd /etc/passwd; mount -t tmpfs none /run
        # As in a small image: no other source of users answers that it knows nobody.
        echo 'passwd: files' > $scratch/nsswitch; mount --bind $scratch/nsswitch /etc/nsswitch.conf
        as_user="setpriv --reuid=$uid --regid=$uid --clear-groups"
        CODER_AGENT_TOKEN=$TOKEN $as_user $coder agent & agent=$!
        $as_user $coder exec --wait 1m sh -c 'printf %s "$TOKEN" | cmp - ~/expected'
        kill $agent; wait $agent"#;
    let run = world.env.program("/usr/bin/unshare").args(["-m", "sh", "-c", script]).cwd("/");
    let run = run.env("scratch", dir.path()).env("coder", coder).env("uid", UID).env("HOME", home);
    let run = run.env("CODER_AGENT_URL", world.server.url()).env("TOKEN", world.workspace.token());
    let output = run.env("TMPDIR", dir.path()).run().success();
    let _ = output.complains("Permission denied").complains("going on as a user without a passwd entry");
}
