//! Every way into sshd sees the same bytes.

use std::collections::BTreeMap;
use std::fs;

use tests::{LONG, Run, wait_for, wait_until};

use super::world::{EXTERNAL, INTERNAL, World};

/// Values that careless quoting changes, cuts, or lets loose.
const NASTY: [(&str, &str); 8] = [
    ("MULTILINE", "-----BEGIN KEY-----\nMIIEvQIBADANnasty\n-----END KEY-----\n"),
    ("QUOTES", "it's \"quoted\" `twice` \\' and \\\" 'end"),
    ("HASH", "before # after #; and && more | done"),
    ("DOLLAR", "$HOME ${HOME} $(id -u) $$ !! %s"),
    ("BACKSLASH", "C:\\new\\table\\\\ \\$x \\\n continued\\"),
    ("UNICODE", "grüße, 日本語, 🔑 \u{202e}tfel"),
    ("SPACES", "  leading and trailing \t\n\n"),
    ("INJECTION", "harmless\nLD_PRELOAD=/nasty/evil.so\nexport EVIL=1; false"),
];

/// Set by sshd, by bash, or taken over from the agent's start.
const KNOWN: &str = "USER LOGNAME HOME PATH SHELL MAIL TZ LANG TERM TMPDIR SSH_CLIENT SSH_CONNECTION SSH_TTY \
                     SSH_USER_AUTH PWD OLDPWD SHLVL _ CODER CS_DISABLE_GETTING_STARTED_OVERRIDE \
                     CODER_WORKSPACE_NAME CODER_WORKSPACE_AGENT_NAME CODER_WORKSPACE_OWNER_NAME CODER_WORKSPACE_ID \
                     GIT_SSH_COMMAND";

type Variables = BTreeMap<String, Vec<u8>>;

fn parse(environ: &[u8]) -> Variables {
    let pair = |line: &[u8]| {
        let equals = line.iter().position(|byte| *byte == b'=').expect("NAME=value");
        (String::from_utf8(line[..equals].to_vec()).unwrap(), line[equals + 1..].to_vec())
    };
    environ.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(pair).collect()
}

/// What the sftp-server of an upload sees. It hides its environment from its own user but not from root, who reads it
/// while the server waits for somebody at the other end of a pipe.
fn served(world: &World, upload: Run) -> Variables {
    let pipe = world.account.home.join("project/pipe");
    let _ = world.env.program("/usr/bin/mkfifo").args(["-m", "666"]).arg(&pipe).run().success();
    let mut upload = upload.spawn("upload");
    let environ = wait_for("the sftp-server", LONG, || world.account.environ_of("sftp-server"));
    drop(fs::File::open(&pipe).unwrap());
    // It wants to seek, which a pipe cannot.
    let _ = upload.exit_within(LONG);
    fs::remove_file(&pipe).unwrap();
    parse(&environ)
}

/// What a process sees in each channel; a shell writes it down.
fn channels(world: &World) -> Vec<(&'static str, Variables)> {
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
        ("ssh h cmd", parse(&command)),
        ("ssh -tt h cmd", parse(&there("a"))),
        ("ssh -tt h", parse(&there("b"))),
        ("ssh -T h", parse(&there("c"))),
        ("scp", scp),
        ("sftp", sftp),
        ("scp -O", parse(&there("f"))),
    ]
}

#[test]
fn every_channel_sees_exactly_these_variables_byte_for_byte() {
    let test = "every_channel_sees_exactly_these_variables_byte_for_byte";
    for sftp in [EXTERNAL, INTERNAL] {
        let Some(world) = World::with(test, sftp, |drop_in| drop_in) else { return };
        for (name, value) in NASTY {
            world.alice.secret_with(&name.to_lowercase(), value, &["--env", name]);
        }
        let _agent = world.agent();
        for (channel, mut seen) in channels(&world) {
            for (name, value) in NASTY {
                assert_eq!(seen.remove(name).as_deref(), Some(value.as_bytes()), "{name} in {channel}, {sftp}");
            }
            seen.retain(|name, _| !KNOWN.split_whitespace().any(|it| it == name));
            assert_eq!(seen.keys().collect::<Vec<_>>(), [""; 0], "{channel}, {sftp}");
        }
    }
}

#[test]
fn a_value_of_the_largest_size_arrives_whole_in_every_channel() {
    let Some(world) = World::new("a_value_of_the_largest_size_arrives_whole_in_every_channel") else { return };
    let value = "0123456789abcdef".repeat(24_576 / 16);
    // Not looked for elsewhere: a value of this size makes each search take seconds.
    let _ = world.alice.coder(["secret", "create", "large", "--env", "LARGE"]).stdin(&value).run().success();
    let _agent = world.agent();
    for (channel, seen) in channels(&world) {
        assert_eq!(seen["LARGE"], value.as_bytes(), "{channel}");
    }
}

#[test]
fn many_sessions_at_once_all_get_everything() {
    const SESSIONS: usize = 200;
    let Some(world) = World::new("many_sessions_at_once_all_get_everything") else { return };
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let _agent = world.agent();
    world.account.write("expected", &value);
    // One connection, since a handshake costs sshd more than all else.
    let path = world.env.home().join("mux").display().to_string();
    let mut master = world.ssh(["-M", "-S", &path, "-N", "h"]).spawn("master");
    wait_until("the connection", LONG, || std::path::Path::new(&path).exists());
    let compare = "printf %s \"$API_KEY\" | cmp - ~/expected && echo same";
    let running: Vec<_> = (0..SESSIONS).map(|_| world.ssh(["-S", &path, "h", compare]).spawn("session")).collect();
    for mut session in running {
        assert_eq!(session.exit_within(LONG).code, Some(0), "{}", session.stderr());
        assert_eq!(session.stdout(), "same\n");
    }
    let _ = master.terminate();
}
