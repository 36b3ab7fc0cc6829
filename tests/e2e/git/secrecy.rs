//! Who gets at the key, and what is left of it: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::{Need, Output, SHORT, requires, wait_until};

use super::world::{self, World};

/// Runs `ssh-add -L` on a socket as another process, perhaps of another user.
fn list(world: &World, socket: &str, prefix: &[&str]) -> Output {
    let (program, args) = match prefix {
        [] => ("/usr/bin/ssh-add", &[][..]),
        [program, args @ ..] => (*program, args),
    };
    let run = world.env.program(program).args(args);
    let run = if prefix.is_empty() { run } else { run.arg("/usr/bin/ssh-add") };
    run.arg("-L").env("SSH_AUTH_SOCK", socket).limit(SHORT).run()
}

#[test]
fn only_ssh_and_its_descendants_can_use_the_key() {
    let Some(world) = World::new("only_ssh_and_its_descendants_can_use_the_key") else { return };
    world.authorize();
    let seen = world.env.path("work/seen");
    world.configure(&format!("PermitLocalCommand yes\n LocalCommand ssh-add -L > '{}'", seen.display()));
    let mut running = world.ssh(["git-host", "echo up; sleep 1000"]).spawn("ssh");
    let _ = running.line_with("up", SHORT);
    assert!(world.public_key().starts_with(fs::read_to_string(&seen).unwrap().trim().trim_end_matches(" Coder")));

    let ssh = world::child_of(running.pid());
    let socket = world::variable_of(ssh, "SSH_AUTH_SOCK").unwrap();
    let directory = Path::new(&socket).parent().unwrap();
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o700);
    // A process of the same user that has found the socket, while that ssh runs.
    let refused = list(&world, &socket, &[]);
    assert_ne!(refused.exit.code, Some(0));
    assert_eq!(refused.stdout, "");
    running.kill();
    wait_until("the end of ssh", SHORT, || !world::is_running(ssh));
    assert_ne!(list(&world, &socket, &[]).exit.code, Some(0));
}

#[test]
fn another_user_is_refused_even_where_the_directory_lets_them_in() {
    let name = "another_user_is_refused_even_where_the_directory_lets_them_in";
    if !requires(name, &[Need::Root, Need::Program("setpriv", "util-linux")]) {
        return;
    }
    let Some(world) = World::new(name) else { return };
    world.authorize();
    let mut running = world.ssh(["git-host", "echo up; sleep 1000"]).spawn("ssh");
    let _ = running.line_with("up", SHORT);
    let socket = world::variable_of(world::child_of(running.pid()), "SSH_AUTH_SOCK").unwrap();
    let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let _ = list(&world, &socket, &nobody).complains("Permission denied");
    for path in Path::new(&socket).ancestors().take_while(|path| path.starts_with(world.env.path(""))) {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let refused = list(&world, &socket, &nobody);
    assert_ne!(refused.exit.code, Some(0));
    assert!(!refused.stderr.contains("Permission denied") && refused.stdout.is_empty(), "{}", refused.stderr);
}

/// What every program of a push writes, wherever it writes it to, is searched for the key.
#[test]
fn no_file_ever_holds_the_key() {
    // Of a process that is not dumpable only root sees what it writes.
    if !requires("no_file_ever_holds_the_key", &[Need::Root, Need::Program("strace", "strace")]) {
        return;
    }
    let Some(world) = World::new("no_file_ever_holds_the_key") else { return };
    world.authorize();
    world.repository("tool.git");
    world.git_succeeds(["clone", "-q", &world.url("tool.git"), "clone"]);
    world.git_succeeds(["-C", "clone", "commit", "-q", "--allow-empty", "-m", "first"]);
    let trace = world.env.path("trace");
    let calls = "--trace=openat,creat,write,writev,pwrite64,pwritev,sendto,sendmsg,memfd_create,ftruncate";
    let strace = world.env.program("/usr/bin/strace").args(["-f", "-s", "65536", "-xx", calls, "-o"]).arg(&trace);
    let push = strace.args(["git", "-C", "clone", "push", "-q", "origin", "HEAD:main"]);
    let _ = world.in_workspace(push).env("GIT_SSH_COMMAND", world.git_ssh_command()).run().success();

    let text = fs::read_to_string(&trace).unwrap();
    let written: Vec<u8> = text.lines().flat_map(|line| [unescaped(line), b"\n".to_vec()].concat()).collect();
    // The trace sees what is written: the pack goes to ssh, the agent token to the server.
    for known in [&b"refs/heads/main"[..], world.workspace.token().as_bytes()] {
        assert!(written.windows(known.len()).any(|window| window == known));
    }
    fs::write(&trace, "").unwrap();
    // The hunt looks for the key here, in every form.
    fs::write(world.env.path("written"), without(&written, world.workspace.token().as_bytes())).unwrap();
    world.env.hunt();
}

/// `"\x41\x42"` → `AB`, for every string of a line.
fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in line.split("\\x").skip(1) {
        bytes.extend(piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()));
    }
    bytes
}

fn without(text: &[u8], word: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut kept = Vec::new();
    while let Some(at) = rest.windows(word.len()).position(|window| window == word) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at + word.len()..];
    }
    kept.extend_from_slice(rest);
    kept
}

#[test]
fn killed_in_the_middle_it_leaves_neither_key_nor_process() {
    let Some(world) = World::new("killed_in_the_middle_it_leaves_neither_key_nor_process") else { return };
    world.authorize();
    world.repository("tool.git");
    world.git_succeeds(["clone", "-q", &world.url("tool.git"), "clone"]);
    world.git_succeeds(["-C", "clone", "commit", "-q", "--allow-empty", "-m", "first"]);
    let hook = world.env.path("repositories/tool.git/hooks/pre-receive");
    let marker = world.env.path("work/receiving");
    fs::write(&hook, format!("#!/bin/sh\necho > '{}'\nexec sleep 1000\n", marker.display())).unwrap();
    fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    let mut push = world.git_run(["-C", "clone", "push", "origin", "HEAD:main"]).spawn("push");
    wait_until("the push to arrive", SHORT, || marker.exists());
    let coder = world::gitssh_below(push.pid());
    let ssh = world::child_of(coder);
    world::kill_now(coder);
    wait_until("the end of ssh", SHORT, || !world::is_running(ssh));
    assert_ne!(push.exit_within(SHORT).code, Some(0));
    // A socket that nobody answers, in an empty directory; the next start after a minute takes it away.
    for directory in world.sockets() {
        let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["agent.sock"]);
        fs::File::open(&directory).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    assert_eq!(world.sockets().len(), 1);
    let _ = world.ssh(["git-host", "true"]).run().success();
    assert!(world.sockets().is_empty());
}
