//! A session is what it is without us.

use std::fs;

use tests::SHORT;

use super::world::World;

#[test]
fn exit_codes_signals_and_binary_input_are_those_of_the_command() {
    let Some(world) = World::new("exit_codes_signals_and_binary_input_are_those_of_the_command") else { return };
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
    let Some(world) = World::new("the_client_and_the_template_say_how_a_session_starts") else { return };
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
    let Some(world) = World::new("the_message_of_the_day_is_for_people_who_want_it") else { return };
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
    let Some(world) = World::new("ports_and_agents_are_forwarded") else { return };
    let _agent = world.agent();
    let socket = world.env.home().join("own-agent").display().to_string();
    let _own = world.env.program("/usr/bin/ssh-agent").args(["-D", "-a", &socket]).spawn("ssh-agent");
    tests::wait_until("the client's agent", SHORT, || fs::metadata(&socket).is_ok());
    let id = world.env.home().join("id");
    let _ = world.env.program("/usr/bin/ssh-add").arg("-q").arg(id).env("SSH_AUTH_SOCK", &socket).run().success();
    let keys = world.ssh(["-A", "h", "ssh-add -L"]).env("SSH_AUTH_SOCK", &socket).run().success();
    assert!(keys.stdout.starts_with("ssh-ed25519 "), "{}", keys.stdout);
    let forwarded = world.ssh(["-W", &format!("127.0.0.1:{}", world.port), "h"]).stdin("\n").run();
    assert!(forwarded.stdout.starts_with("SSH-2.0-"), "{}", forwarded.stdout);
}
