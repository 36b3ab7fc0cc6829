//! A session is what it is without us.

use std::fs;

use tests::{LONG, Need, SHORT, requires};

use super::logins::Logins;

#[test]
fn exit_codes_signals_and_binary_input_are_those_of_the_command() {
    let Some(world) = Logins::new("exit_codes_signals_and_binary_input_are_those_of_the_command") else { return };
    let _agent = world.agent();
    for code in [0, 1, 7, 126, 254] {
        let _ = world.ssh(["h", &format!("exit {code}")]).run().exits(code);
    }
    let _ = world.ssh(["-tt", "h"]).terminal("exit 9\n").run().exits(9);
    let killed = world.ssh(["h", "kill -TERM $$; sleep 100"]).run();
    assert_eq!(killed.exit.code, Some(255), "as ssh tells of a signal");
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    assert_eq!(world.ssh(["h", "cat"]).stdin(&bytes).run().success().stdout_bytes, bytes);
    // Editors send a script, and then what it reads.
    let script = [b"cat > payload; exit\n".as_slice(), &bytes].concat();
    let _ = world.ssh(["-T", "h", "bash -s"]).stdin(script).run().success();
    assert_eq!(world.account.read("project/payload"), bytes);
    let both = world.ssh(["h", "printf out; printf err >&2"]).run().success();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out", "err"));
}

#[test]
fn the_client_and_the_template_say_how_a_session_starts() {
    let Some(world) = Logins::new("the_client_and_the_template_say_how_a_session_starts") else { return };
    let _agent = world.agent();
    let seen = |args: &[&str]| {
        let run = world.ssh(args).terminal("").env("LC_TIME", "de_DE.UTF-8").env("TERM", "vt220");
        run.run().success().stdout.replace('\r', "")
    };
    let directory = fs::canonicalize(world.account.home.join("project")).unwrap();
    assert_eq!(seen(&["h", "pwd"]), format!("{}\n", directory.display()));
    assert_eq!(seen(&["h", "echo $LC_TIME $LANG ${SSH_CONNECTION%% *}"]), "de_DE.UTF-8 C.UTF-8 127.0.0.1\n");
    assert_eq!(seen(&["-tt", "h", "echo $TERM; test \"$SSH_TTY\" = \"$(tty)\" && echo same"]), "vt220\nsame\n");
    assert_eq!(seen(&["h", "echo $0 $SHLVL ${SSH_ORIGINAL_COMMAND-unset}"]), "bash 1 unset\n");
    let shell = world.ssh(["-tt", "h"]).terminal("shopt -q login_shell && echo is-$((40+2)); exit\n");
    let _ = shell.run().success().says("is-42");
    fs::remove_dir_all(directory).unwrap();
    assert_eq!(seen(&["h", "pwd"]), format!("{}\n", world.account.home.display()));
}

#[test]
fn the_message_of_the_day_is_for_people_who_want_it() {
    let Some(world) = Logins::new("the_message_of_the_day_is_for_people_who_want_it") else { return };
    let _agent = world.agent();
    world.account.write("motd", "welcome to dev\n");
    let shell = || world.ssh(["-tt", "h"]).terminal("exit\n").run().success().stdout;
    assert!(shell().contains("welcome to dev"));
    let runs = [world.ssh(["-tt", "h", "true"]).terminal(""), world.ssh(["-T", "h"]).stdin("exit\n")];
    assert!(runs.into_iter().all(|run| !run.run().success().stdout.contains("welcome")));
    world.account.write(".hushlogin", "");
    assert!(!shell().contains("welcome"));
}

#[test]
fn ports_and_agents_are_forwarded() {
    let Some(world) = Logins::new("ports_and_agents_are_forwarded") else { return };
    let _agent = world.agent();
    let socket = world.env.home().join("own-agent").display().to_string();
    let _own = world.env.program("/usr/bin/ssh-agent").args(["-D", "-a", &socket]).spawn("ssh-agent");
    tests::wait_until("the client's agent", SHORT, || fs::metadata(&socket).is_ok());
    let id = world.env.home().join("id");
    let _ = world.env.program("/usr/bin/ssh-add").arg("-q").arg(id).env("SSH_AUTH_SOCK", &socket).run().success();
    let keys = world.ssh(["-A", "h", "ssh-add -L"]).env("SSH_AUTH_SOCK", &socket).run().success();
    assert!(keys.stdout.starts_with("ssh-ed25519 "), "{}", keys.stdout);
    let here = format!("127.0.0.1:{}", world.sshd.port());
    let forwarded = world.ssh(["-W", &here, "h"]).stdin("\n").run();
    assert!(forwarded.stdout.starts_with("SSH-2.0-"), "{}", forwarded.stdout);
    // The other way round: a port of the server's leads back here; sshd picks it and tells.
    let mut back = world.ssh(["-o", "LogLevel=INFO", "-N", "-R", &format!("0:{here}"), "h"]).spawn("back");
    let line = back.line_with("Allocated port", LONG);
    let port = line.split_whitespace().nth(2).unwrap();
    let greeting = world.env.program("/bin/bash").args(["-c", &format!("head -n 1 < /dev/tcp/127.0.0.1/{port}")]);
    assert!(greeting.run().success().stdout.starts_with("SSH-2.0-"));
}

/// sshd sets DISPLAY and gives xauth the cookie; the client has a display that nobody listens on.
#[test]
fn a_forwarded_display_reaches_the_session() {
    let test = "a_forwarded_display_reaches_the_session";
    if !requires(test, &[Need::Program("xauth", "xauth")]) {
        return;
    }
    let Some(world) = Logins::new(test) else { return };
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let _agent = world.agent();
    let script = "echo \"$DISPLAY\"; xauth list \"$DISPLAY\" | wc -l; test -n \"$API_KEY\" && echo same";
    for args in [["-X", "-T"], ["-X", "-tt"]] {
        let run = world.ssh(args).args(["h", script]).terminal("").env("DISPLAY", ":99").run().success();
        let seen = run.stdout.replace('\r', "");
        assert!(seen.starts_with("localhost:1") && seen.ends_with(".0\n1\nsame\n"), "{seen}\n{}", run.stderr);
    }
    let seen = world.ssh(["h", "echo \"<${DISPLAY-none}>\""]).env("DISPLAY", ":99").run().success().stdout;
    assert_eq!(seen, "<none>\n");
}

#[test]
fn a_session_hears_of_a_client_that_is_gone() {
    let Some(world) = Logins::new("a_session_hears_of_a_client_that_is_gone") else { return };
    let _agent = world.agent();
    let script = "trap 'touch hung-up; exit' HUP; echo up; while :; do sleep 0.1; done";
    let mut session = world.ssh(["-tt", "h", script]).terminal("").spawn("session");
    let _ = session.line_with("up", LONG);
    session.kill();
    let told = world.account.home.join("project/hung-up");
    tests::wait_until("the end of the session", LONG, || told.exists());
}
