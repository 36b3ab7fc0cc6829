//! Every way into sshd sees the same bytes.

use std::fs;

use tests::nasty::{self, NASTY, Seen};
use tests::{LONG, Run, wait_for};

use super::logins::{INTERNAL, Logins};

/// Set by sshd, by bash, or taken over from the agent's start.
const SURROUNDINGS: &str = "USER LOGNAME HOME PATH SHELL MAIL TZ LANG TERM TMPDIR SSH_CLIENT SSH_CONNECTION SSH_TTY \
                            SSH_USER_AUTH PWD OLDPWD SHLVL _";

/// What the sftp-server of an upload sees. It hides its environment from its own user but not from root, who reads it
/// while the server waits for somebody at the other end of a pipe.
fn served(world: &Logins, upload: Run) -> Seen {
    let pipe = world.account.home.join("project/pipe");
    let _ = world.env.program("/usr/bin/mkfifo").args(["-m", "666"]).arg(&pipe).run().success();
    let mut upload = upload.spawn("upload");
    let environ = wait_for("the sftp-server", LONG, || world.account.environ_of("sftp-server"));
    drop(fs::File::open(&pipe).unwrap());
    // It wants to seek, which a pipe cannot.
    let _ = upload.exit_within(LONG);
    fs::remove_file(&pipe).unwrap();
    Seen::parse(&environ)
}

/// What a process sees in each channel; a shell writes it down.
pub(crate) fn channels(world: &Logins) -> Vec<(&'static str, Seen)> {
    let there = |name: &str| world.account.read(&format!("project/{name}"));
    let _ = world.env.program("/bin/sh").args(["-c", "echo up > ~/up"]).run().success();
    let command = world.ssh(["h", "env -0"]).reveals().run().success().stdout_bytes;
    let _ = world.ssh(["-tt", "h", "env -0 > a"]).terminal("").run().success();
    let _ = world.ssh(["-tt", "h"]).terminal("env -0 > b; exit\n").reveals().run().success();
    let _ = world.ssh(["-T", "h"]).stdin("env -0 > c\n").reveals().run().success();
    let scp = served(world, world.client("scp", ["up", "h:pipe"]));
    let sftp = served(world, world.client("sftp", ["-b", "-", "h"]).stdin("put up pipe\n"));
    let _ = world.client("scp", ["-O", "up", "h:$(env -0 > f; echo g)"]).run().success();
    let _ = world.client("scp", ["up", "h:h"]).run().success();
    let _ = world.client("sftp", ["-b", "-", "h"]).stdin("put up i\n").run().success();
    for copy in ["g", "h", "i"] {
        assert_eq!(there(copy), b"up\n");
    }
    vec![
        ("ssh h cmd", Seen::parse(&command)),
        ("ssh -tt h cmd", Seen::parse(&there("a"))),
        ("ssh -tt h", Seen::parse(&there("b"))),
        ("ssh -T h", Seen::parse(&there("c"))),
        ("scp", scp),
        ("sftp", sftp),
        ("scp -O", Seen::parse(&there("f"))),
    ]
}

/// The other server is what the tests of all ways have.
#[test]
fn with_the_sftp_server_inside_sshd_every_channel_sees_the_same() {
    let test = "with_the_sftp_server_inside_sshd_every_channel_sees_the_same";
    let Some(world) = Logins::with(test, INTERNAL, |drop_in| drop_in) else { return };
    nasty::store(&world.alice);
    let _agent = world.agent();
    for (channel, seen) in channels(&world) {
        seen.is_exactly(channel, &NASTY, SURROUNDINGS);
    }
}

#[test]
fn two_hundred_logins_at_once_all_get_everything() {
    let Some(world) = Logins::new("two_hundred_logins_at_once_all_get_everything") else { return };
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let _agent = world.agent();
    world.account.write("expected", &value);
    let compare = "printf %s \"$API_KEY\" | cmp - ~/expected && echo same";
    // Each takes its time when all of them do, which is no reason to be refused.
    let patient = ["-o", "ConnectTimeout=110", "-o", "KexAlgorithms=curve25519-sha256"];
    let running: Vec<_> = (0..200).map(|_| world.ssh(patient).args(["h", compare]).spawn("session")).collect();
    for mut session in running {
        assert_eq!(session.exit_within(LONG).code, Some(0), "{}", session.stderr());
        assert_eq!(session.stdout(), "same\n");
    }
}
