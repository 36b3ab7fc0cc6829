//! Git over SSH with the owner's key: real git, a real sshd, the real server.

mod agent;
mod failures;
mod fixture;
mod own_choice;
mod secrecy;
mod server;
mod signing;

use fixture::Git;
use nix::sys::signal::Signal;
use tests::{LONG, Need, SHORT, requires, wait_until};

#[test]
fn clone_push_and_fetch_with_either_kind_of_key() {
    let Some(world) = Git::new("clone_push_and_fetch_with_either_kind_of_key") else { return };
    for algorithm in ["ed25519", "ecdsa"] {
        let world = if algorithm == "ed25519" { &world } else { &Git::start(algorithm) };
        world.authorize();
        world.repository("tool.git");
        world.git_succeeds(["clone", &world.url("tool.git"), algorithm]);
        let clone = world.env.path("work").join(algorithm);
        std::fs::write(clone.join("file"), algorithm).unwrap();
        world.git_succeeds(["-C", algorithm, "add", "file"]);
        world.git_succeeds(["-C", algorithm, "commit", "-qm", "first"]);
        world.git_succeeds(["-C", algorithm, "push", "origin", "HEAD:main"]);
        world.git_succeeds(["-C", algorithm, "fetch", "origin"]);
        let log = world.git(["-C", algorithm, "log", "--format=%s", "origin/main"]).success();
        assert_eq!(log.stdout, "first\n");
    }
}

#[test]
fn ssh_is_as_it_is_without_us() {
    let Some(world) = Git::new("ssh_is_as_it_is_without_us") else { return };
    world.authorize();
    // As git-lfs asks for its credentials.
    world.host.install("git-lfs-authenticate", "echo \"{\\\"href\\\":\\\"$1 $2\\\"}\"");
    let lfs = world.ssh(["git-host", "git-lfs-authenticate", "tool.git", "upload"]).run().success();
    assert_eq!(lfs.stdout, "{\"href\":\"tool.git upload\"}\n");
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    let echoed = world.ssh(["git-host", "cat"]).stdin(&bytes).run().success();
    assert_eq!(echoed.stdout_bytes, bytes);
    let _ = world.ssh(["git-host", "exit 7"]).run().exits(7);
    let _ = world.ssh(["git-host", "exit 255"]).run().exits(255);
    let asked = world.ssh(["-G", "git-host"]).run().success();
    assert!(asked.stdout.contains("\nhostname 127.0.0.1\n"), "{}", asked.stdout);
}

#[test]
fn a_terminal_goes_through() {
    // Only root's sshd can hand out terminals.
    if !requires("a_terminal_goes_through", &[Need::Root]) {
        return;
    }
    let Some(world) = Git::new("a_terminal_goes_through") else { return };
    world.authorize();
    let terminal = world.ssh(["-tt", "git-host", "test -t 0 && echo terminal"]).terminal("").run().success();
    assert!(terminal.stdout.contains("terminal"), "{}", terminal.stdout);
}

#[test]
fn a_signal_to_us_ends_ssh_and_us_in_the_same_way() {
    let Some(world) = Git::new("a_signal_to_us_ends_ssh_and_us_in_the_same_way") else { return };
    world.authorize();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut running = world.ssh(["git-host", "echo up; while sleep 1; do echo; done"]).spawn("ssh");
        let _ = running.line_with("up", SHORT);
        let ssh = fixture::child_of(running.pid());
        running.signal(signal);
        let exit = running.exit_within(SHORT);
        // ssh catches some of them to restore the terminal, and then exits with 255.
        assert!(exit.signal == Some(signal as i32) || exit.code == Some(255), "{signal}: {exit:?}");
        wait_until("the end of ssh", SHORT, || !fixture::is_running(ssh));
        assert!(world.sockets().is_empty());
    }
}

#[test]
fn a_regenerated_key_replaces_the_old_one_at_the_next_fetch() {
    let Some(world) = Git::new("a_regenerated_key_replaces_the_old_one_at_the_next_fetch") else { return };
    world.authorize();
    world.repository("tool.git");
    world.git_succeeds(["ls-remote", &world.url("tool.git")]);
    let refused = world.alice.coder(["publickey", "--reset"]).stdin("no\n").run().exits(1);
    assert!(refused.stderr.contains("Canceled."), "{}", refused.stderr);
    let new = world.alice.coder(["publickey", "--reset", "--yes"]).run().success();
    world.watch_key();
    let denied = world.git(["ls-remote", &world.url("tool.git")]).exits(128);
    assert!(denied.stderr.contains("Permission denied"), "{}", denied.stderr);
    assert!(denied.stderr.contains(new.stdout.trim()), "the hint shows the new key: {}", denied.stderr);
    world.authorize();
    world.git_succeeds(["ls-remote", &world.url("tool.git")]);
}

#[test]
fn jump_hosts_are_logged_in_to_with_the_same_key() {
    let Some(world) = Git::new("jump_hosts_are_logged_in_to_with_the_same_key") else { return };
    world.authorize();
    let through = world.ssh(["-J", "git-host", "inner-host", "echo there"]).limit(LONG).run().success();
    assert_eq!(through.stdout, "there\n");
}

#[test]
fn the_public_key_is_shown_to_who_is_signed_in_and_in_the_workspace() {
    let Some(world) = Git::new("the_public_key_is_shown_to_who_is_signed_in_and_in_the_workspace") else { return };
    let signed_in = world.alice.coder(["publickey"]).run().success();
    assert!(signed_in.stdout.starts_with("ssh-ed25519 ") && signed_in.stdout.lines().count() == 1);
    assert!(signed_in.stderr.contains("https://github.com/settings/ssh/new"), "{}", signed_in.stderr);
    assert_eq!(world.in_workspace(world.env.coder(["publickey"])).run().success().stdout, signed_in.stdout);
    let for_git = world.in_workspace(world.env.coder(["publickey", "--signing-key"])).run().success();
    assert_eq!(for_git.stdout, format!("key::{}", signed_in.stdout));
    let nowhere = world.env.coder(["publickey"]).run().exits(2);
    assert!(nowhere.stderr.contains("You are not logged in"), "{}", nowhere.stderr);
}
