//! All at once: two agents of one user with one home, refetches that overlap, and the user, who plants links meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use reqwest::Method;
use rustix::fs::{Gid, Uid};
use serde_json::json;
use tests::{DEV, Env, LONG, Need, Process, Rest, Run, binaries, requires, wait_until};

const NOBODY: u32 = 65_534;

#[test]
fn nothing_is_written_astray_torn_or_left_over() {
    race("nothing_is_written_astray_torn_or_left_over", 1000);
}

#[test]
#[ignore = "long: ten times the rounds"]
fn nothing_is_written_astray_torn_or_left_over_in_many_rounds() {
    race("nothing_is_written_astray_torn_or_left_over_in_many_rounds", 10_000);
}

fn race(name: &str, rounds: usize) {
    if !requires(name, &[Need::Root, Need::Program("setpriv", "util-linux")]) {
        return;
    }
    let env = Env::quiet();
    let server = env.server_with(["--rate-limit", "1000000"]);
    let alice = env.user("alice");
    let place = Place::new();
    for name in ["dir/secret", "plain"] {
        let path = place.home.join(name);
        let _ = alice
            .coder(["secret", "create", &name.replace('/', "-"), "--file"])
            .arg(path)
            .stdin(value(0))
            .run()
            .success();
    }
    let workspace = env.workspace(DEV);
    let agents = ["a", "b"].map(|agent| place.agent(&env, server.url(), workspace.token(), agent));
    for agent in ["a", "b"] {
        wait_until("an agent", LONG, || place.socket(agent).exists());
    }

    let rest = alice.rest();
    let before = place.outside_now();
    race_each_other(&env, &place, &rest, rounds);
    update(&rest, rounds);
    for agent in ["a", "b"] {
        let _ = place.reload(&env, agent).run().success();
    }
    place.is_as_it_should_be(rounds, &before);
    for mut agent in agents {
        assert!(!agent.stderr().contains("damaged"), "{}", agent.stderr());
        agent.terminate();
    }
}

/// Agents deliver to the same place while somebody plants links there and others read.
fn race_each_other(env: &Env, place: &Place, rest: &Rest, rounds: usize) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let disturbing = scope.spawn(|| place.disturb(&done));
        let reading = scope.spawn(|| place.read(&done));
        // Of each ten requests nine are in the middle of another's delivery.
        let clients = [("a", true), ("a", false), ("b", false)].map(|(agent, writes)| {
            scope.spawn(move || {
                for round in 0..rounds / 3 {
                    if writes {
                        update(rest, round);
                    }
                    let _ = place.reload(env, agent).run();
                }
            })
        });
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        disturbing.join().unwrap();
        reading.join().unwrap();
        for client in ended {
            client.unwrap();
        }
    });
}

/// Of many lengths, and in one piece only if all of it is of one round.
fn value(round: usize) -> String {
    format!("{round:06} ").repeat(50 + round % 500)
}

fn update(alice: &Rest, round: usize) {
    for name in ["dir-secret", "plain"] {
        let body = json!({ "value": value(round) }).to_string();
        let _ = alice.try_send(Method::PATCH, &format!("/users/me/secrets/{name}"), Some(body));
    }
}

/// A directory that all users can enter: the home of nobody, and what only root may write.
struct Place {
    _dir: tempfile::TempDir,
    coder: PathBuf,
    home: PathBuf,
    outside: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self {
            coder: dir.path().join("coder"),
            home: dir.path().join("home"),
            outside: dir.path().join("outside"),
            _dir: dir,
        };
        fs::copy(&binaries().coder, &place.coder).unwrap();
        fs::create_dir_all(&place.outside).unwrap();
        for name in ["", "dir", "planted", "a", "b"] {
            fs::create_dir_all(place.home.join(name)).unwrap();
            chown(place.home.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        fs::write(place.outside.join("secret"), "untouched").unwrap();
        place
    }

    fn socket(&self, agent: &str) -> PathBuf {
        self.home.join(agent).join("agent.sock")
    }

    /// Started by root, which it ceases to be.
    fn agent(&self, env: &Env, url: &str, token: &str, name: &str) -> Process {
        let run = env
            .program(&self.coder)
            .cwd("/")
            .env("CODER_AGENT_TOKEN", token)
            .env("CODER_AGENT_SOCKET", self.socket(name));
        let run = run.args(["agent", "--user", "nobody", "--agent-url", url, "--log-dir"]).arg(self.home.join(name));
        run.arg("--state-dir").arg(self.home.join("state")).spawn(name)
    }

    fn as_nobody<const N: usize>(&self, env: &Env, args: [&str; N]) -> Run {
        let ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        env.program("/usr/bin/setpriv").args(ids).arg(&self.coder).args(args).cwd("/")
    }

    fn reload(&self, env: &Env, agent: &str) -> Run {
        self.as_nobody(env, ["agent", "reload"]).env("CODER_AGENT_SOCKET", self.socket(agent))
    }

    /// The newest values whole, nothing outside touched, nothing left over, the ledger sound.
    fn is_as_it_should_be(&self, round: usize, outside: &[(PathBuf, u64, i64, Vec<u8>)]) {
        for name in ["dir/secret", "plain"] {
            assert_eq!(fs::read_to_string(self.home.join(name)).unwrap(), value(round), "{name}");
        }
        assert_eq!(self.outside_now(), outside, "written astray");
        let left: Vec<_> = [&self.home, &self.home.join("dir")]
            .iter()
            .flat_map(|dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()))
            .filter(|name| name.to_string_lossy().starts_with(".coder-s"))
            .collect();
        assert!(left.is_empty(), "left over: {left:?}");
        assert!(!self.home.join("state/ledger.damaged-1").exists());
    }

    /// As the user: the target becomes a link to what is root's, and its directory does.
    fn disturb(&self, done: &AtomicBool) {
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_gid(Gid::from_raw(NOBODY)).unwrap();
        rustix::thread::set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
        let (dir, link, kept) = (self.home.join("dir"), self.home.join("planted/link"), self.home.join("planted/dir"));
        while !done.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&link);
            symlink(self.outside.join("secret"), &link).unwrap();
            let _ = fs::rename(&link, dir.join("secret"));
            let _ = fs::remove_file(dir.join("secret"));
            let _ = fs::rename(&dir, &kept);
            let _ = symlink(&self.outside, &dir);
            let _ = fs::remove_file(&dir);
            if fs::rename(&kept, &dir).is_err() {
                // The agent has made it meanwhile.
                let _ = fs::remove_dir_all(&kept);
            }
        }
    }

    /// Nobody ever sees half a value where none is disturbed.
    fn read(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            let Ok(content) = fs::read_to_string(self.home.join("plain")) else { continue };
            let round = content[..6].parse().unwrap();
            assert!(content == value(round), "torn: {content}");
        }
    }

    fn outside_now(&self) -> Vec<(PathBuf, u64, i64, Vec<u8>)> {
        let entry = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (path.to_owned(), meta.ino(), meta.mtime_nsec(), fs::read(path).unwrap_or_default())
        };
        let inside = fs::read_dir(&self.outside).unwrap().map(|it| entry(&it.unwrap().path()));
        inside.chain([entry(&self.outside)]).collect()
    }
}
