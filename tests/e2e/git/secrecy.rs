//! Who gets at the key, and what is left of it: nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::{Agent, Need, Output, Run, SHORT, requires, wait_until};

use super::fixture::{self, Git};

/// Runs `ssh-add -L` on a socket as another process, perhaps of another user.
fn list(world: &Git, socket: &str, prefix: &[&str]) -> Output {
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
    let Some(world) = Git::new("only_ssh_and_its_descendants_can_use_the_key") else { return };
    world.authorize();
    let seen = world.env.path("work/seen");
    world.configure(&format!("PermitLocalCommand yes\n LocalCommand ssh-add -L > '{}'", seen.display()));
    let mut running = world.ssh(["git-host", "echo up; while sleep 1; do echo; done"]).spawn("ssh");
    let _ = running.line_with("up", SHORT);
    assert!(world.public_key().starts_with(fs::read_to_string(&seen).unwrap().trim().trim_end_matches(" Coder")));

    let ssh = fixture::child_of(running.pid());
    let socket = fixture::variable_of(ssh, "SSH_AUTH_SOCK").unwrap();
    let directory = Path::new(&socket).parent().unwrap();
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o700);
    // A process of the same user that has found the socket, while that ssh runs.
    let refused = list(&world, &socket, &[]);
    assert_ne!(refused.exit.code, Some(0));
    assert_eq!(refused.stdout, "");
    running.kill();
    wait_until("the end of ssh", SHORT, || !fixture::is_running(ssh));
    assert_ne!(list(&world, &socket, &[]).exit.code, Some(0));
}

#[test]
fn another_user_is_refused_even_where_the_directory_lets_them_in() {
    let name = "another_user_is_refused_even_where_the_directory_lets_them_in";
    if !requires(name, &[Need::Root, Need::Program("setpriv", "util-linux")]) {
        return;
    }
    let Some(world) = Git::new(name) else { return };
    world.authorize();
    let mut running = world.ssh(["git-host", "echo up; while sleep 1; do echo; done"]).spawn("ssh");
    let _ = running.line_with("up", SHORT);
    let socket = fixture::variable_of(fixture::child_of(running.pid()), "SSH_AUTH_SOCK").unwrap();
    let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let _ = list(&world, &socket, &nobody).complains("Permission denied");
    for path in Path::new(&socket).ancestors().take_while(|path| path.starts_with(world.env.path(""))) {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let refused = list(&world, &socket, &nobody);
    assert_ne!(refused.exit.code, Some(0));
    assert!(!refused.stderr.contains("Permission denied") && refused.stdout.is_empty(), "{}", refused.stderr);
}

/// A push under strace, on one way to the key.
struct Push<'a> {
    world: &'a Git,
    /// Where it signs; none where `coder gitssh` has it from the server.
    agent: Option<&'a Agent>,
}

impl Push<'_> {
    fn traced(&self, branch: &str) -> Run {
        // Nothing of the key reaches a process that has an agent to sign for it, so its reads are searched, too.
        let reads = if self.agent.is_some() { ",read,readv,pread64,recvfrom,recvmsg" } else { "" };
        let calls = format!("--trace=open,openat,creat,write,writev,pwrite64,pwritev,sendto,sendmsg,sendmmsg{reads}");
        let strace = self.world.env.program("/usr/bin/strace").args(["-f", "-y", "-s", "1048576", "-xx", &calls, "-o"]);
        let push = strace.arg(self.trace()).args(["git", "-C", "clone", "push", "-q", "origin"]).arg(branch);
        let run = push.env("GIT_SSH_COMMAND", self.world.git_ssh_command());
        let run = run.env("XDG_RUNTIME_DIR", self.world.env.path("run"));
        match self.agent {
            Some(agent) => run.env("CODER_AGENT_SOCKET", agent.socket()),
            None => self.world.in_workspace(run),
        }
    }

    fn trace(&self) -> PathBuf {
        self.world.env.path("trace")
    }

    /// Lays out what the trace shows to have been said, and what is in the files that were opened for writing, for the
    /// hunt.
    fn search(&self) {
        let text = fs::read_to_string(self.trace()).unwrap();
        fs::write(self.trace(), "").unwrap();
        let written = text.lines().filter(|line| line.contains("O_WRONLY") || line.contains("O_RDWR"));
        let paths: BTreeSet<PathBuf> = written.filter_map(opened).collect();
        assert!(!paths.is_empty());
        let files = paths.iter().filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap_or_default());
        let said: Vec<u8> = text.lines().flat_map(|line| [unescaped(line), b"\n".to_vec()].concat()).collect();
        // The trace sees what it should: the pack goes to ssh.
        assert!(said.windows(15).any(|window| window == b"refs/heads/main"));
        let token = self.world.workspace.token().as_bytes();
        assert_eq!(said.windows(token.len()).any(|window| window == token), self.agent.is_none());
        let said = without(&said, token);
        fs::write(self.world.env.path("said"), [said, files.collect()].concat()).unwrap();
        self.world.env.hunt();
    }
}

#[test]
fn no_file_ever_holds_the_key() {
    // Of a process that is not dumpable only root sees what it writes.
    if !requires("no_file_ever_holds_the_key", &[Need::Root, Need::Program("strace", "strace")]) {
        return;
    }
    let Some(world) = Git::new("no_file_ever_holds_the_key") else { return };
    world.authorize();
    world.repository("tool.git");
    world.git_succeeds(["clone", "-q", &world.url("tool.git"), "clone"]);
    let agent = world.agent(&world.server, &world.workspace);
    let hook = world.env.path("repositories/tool.git/hooks/pre-receive");
    for agent in [None, Some(&agent)] {
        let push = Push { world: &world, agent };
        world.git_succeeds(["-C", "clone", "commit", "-q", "--allow-empty", "-m", "next"]);
        let _ = push.traced("HEAD:main").run().success();
        push.search();

        let marker = world.env.path("work/receiving");
        hold_up(&hook, &marker);
        world.git_succeeds(["-C", "clone", "commit", "-q", "--allow-empty", "-m", "next"]);
        let mut running = push.traced("HEAD:main").spawn("push");
        wait_until("the push to arrive", SHORT, || marker.exists());
        fixture::kill_now(fixture::gitssh_below(running.pid()));
        assert_ne!(running.exit_within(SHORT).code, Some(0));
        push.search();
        fs::remove_file(&hook).unwrap();
        fs::remove_file(&marker).unwrap();
    }
}

/// A push makes `marker` and gets no further until that is gone, with the test if not before.
fn hold_up(hook: &Path, marker: &Path) {
    let marker = marker.display();
    fs::write(hook, format!("#!/bin/sh\necho > '{marker}'\nwhile [ -e '{marker}' ]; do sleep 0.1; done\n")).unwrap();
    fs::set_permissions(hook, PermissionsExt::from_mode(0o755)).unwrap();
}

/// What the hunt of these tests looks for is the key, in each form that it could be written down in.
#[test]
fn the_hunt_knows_the_key() {
    let Some(world) = Git::new("the_hunt_knows_the_key") else { return };
    for algorithm in ["ed25519", "ecdsa"] {
        let world = if algorithm == "ed25519" { &world } else { &Git::start(algorithm) };
        let pem = world.private_key();
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let document = STANDARD.decode(&base64).unwrap();
        let json = serde_json::json!({ "private_key": pem }).to_string();
        for form in [pem.as_bytes(), json.as_bytes(), base64.as_bytes(), &document] {
            let file = world.env.write("leak", form);
            assert_ne!(world.env.take_leaks(), []);
            fs::remove_file(file).unwrap();
        }
        assert_eq!(world.env.take_leaks(), []);
    }
}

/// The path in `openat(…) = 3<PATH>`.
fn opened(line: &str) -> Option<PathBuf> {
    let bytes = unescaped(line.rsplit_once(" = ")?.1);
    bytes.starts_with(b"/").then(|| OsString::from_vec(bytes).into())
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
    let Some(world) = Git::new("killed_in_the_middle_it_leaves_neither_key_nor_process") else { return };
    world.authorize();
    world.repository("tool.git");
    world.git_succeeds(["clone", "-q", &world.url("tool.git"), "clone"]);
    world.git_succeeds(["-C", "clone", "commit", "-q", "--allow-empty", "-m", "first"]);
    let hook = world.env.path("repositories/tool.git/hooks/pre-receive");
    let marker = world.env.path("work/receiving");
    hold_up(&hook, &marker);
    let mut push = world.git_run(["-C", "clone", "push", "origin", "HEAD:main"]).spawn("push");
    wait_until("the push to arrive", SHORT, || marker.exists());
    let coder = fixture::gitssh_below(push.pid());
    let ssh = fixture::child_of(coder);
    fixture::kill_now(coder);
    wait_until("the end of ssh", SHORT, || !fixture::is_running(ssh));
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
