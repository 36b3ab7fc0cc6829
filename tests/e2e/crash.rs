//! The server is killed at its writes while clients do everything they can, agents report, and an administrator rotates
//! tokens: what was acknowledged is there afterwards, what was refused is not, the database is sound, and the server
//! starts again.

pub mod client;
mod reporter;

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Env, Exit, LONG, Need, Process, Seed, User, Workspace, binaries, is_about_the_file, requires, wait_for};

use client::Client;
use reporter::Reporter;

use crate::peers::client as peer;

/// Clients at once, each with an account of its own.
const CLIENTS: usize = 4;
/// Requests of each client in one life of the server.
const REQUESTS: usize = 6;
/// Reports of each agent in one life.
const REPORTS: usize = 3;
/// In one life of so many a token is rotated.
const ROTATION: usize = 5;

/// A server that is killed again and again, and everybody who uses it.
struct Crashing {
    env: Env,
    clients: Vec<Client>,
    accounts: Vec<(User, Workspace)>,
    /// One for each account.
    reporters: Vec<Reporter>,
    /// Tokens that were rotated since the last look.
    ended: Vec<String>,
    lives: usize,
    requests: usize,
}

/// Where the server is killed: at the call of this name and number, counted for each thread.
#[derive(Clone, Copy, Debug)]
struct Point {
    call: &'static str,
    number: u64,
}

/// A server that may be killed at any time; what is left of it ends with this.
struct Life {
    process: Process,
    url: Option<String>,
    pid_file: std::path::PathBuf,
}

impl Life {
    /// By its own pid: behind strace it is not our child.
    fn signal(&mut self, signal: Signal) {
        let pid = std::fs::read_to_string(&self.pid_file).ok().and_then(|text| text.trim().parse().ok());
        if let (None, Some(pid)) = (self.process.try_exit(), pid) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        self.process.exit_within(LONG);
    }
}

impl Crashing {
    fn new(seed: &mut Seed) -> Self {
        let env = Env::quiet();
        let server = env.server_with(["--rate-limit", "0"]);
        let account = |number| {
            let user = env.user(&format!("user-{number}"));
            let workspace = env.workspace(&definition(&user.name));
            (user, workspace)
        };
        let accounts: Vec<_> = (0..CLIENTS).map(account).collect();
        let clients = accounts.iter().map(|(user, _)| Client::new(&user.token, server.url(), seed.split())).collect();
        drop(server);
        let reporters = accounts.iter().map(|_| Reporter::default()).collect();
        Self { env, clients, accounts, reporters, ended: Vec::new(), lives: 0, requests: 0 }
    }

    /// A server that is killed at `point`, once it answers; none where it was killed before.
    fn start(&self, point: Option<Point>) -> Life {
        let server = &binaries().server;
        let run = match point {
            None => self.env.program(server),
            Some(Point { call, number }) => self
                .env
                .program("/usr/bin/strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"])
                .arg(format!("inject={call}:signal=SIGKILL:when={number}"))
                .arg(server),
        };
        let run = run.args(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0", "--data-dir"]);
        let process = self.env.with_database(run.arg(self.env.data_dir())).spawn("server");
        let mut life = Life { process, url: None, pid_file: self.env.data_dir().join("serve.lock") };
        wait_for("a server, or its end", LONG, || {
            let ended = life.process.try_exit().is_some();
            let output = life.process.stdout() + &life.process.stderr();
            let address = output.lines().find_map(|line| line.split("listening on ").nth(1));
            life.url = address.map(|address| address.trim().to_owned());
            (ended || life.url.is_some()).then_some(())
        });
        life
    }

    /// One life of the server, at the start of which all clients look whether the last one lost anything. Whether it
    /// ended at `point`, rather than in order.
    fn live(&mut self, point: Point) -> bool {
        let mut life = self.start(Some(point));
        let Some(url) = life.url.clone() else { return true };
        self.lives += 1;
        let is_done = self.work(&url);
        // Its orderly end has writes of its own.
        life.signal(Signal::SIGTERM);
        match life.process.exit_within(LONG) {
            Exit { signal: Some(9), .. } => true,
            Exit { code: Some(0), .. } if is_done => false,
            exit => panic!("{exit:?}, not all done:\n{}", life.process.stderr()),
        }
    }

    /// Everybody at once, until they have done what they wanted, or the server is gone. Whether all was done.
    fn work(&mut self, url: &str) -> bool {
        let rotated = self.lives.is_multiple_of(ROTATION).then_some(self.lives / ROTATION % CLIENTS);
        let Self { env, accounts, clients, reporters, .. } = self;
        let (made, reported, token) = std::thread::scope(|scope| {
            let clients = clients.iter_mut().map(|client| scope.spawn(|| client.work(url, REQUESTS)));
            let clients: Vec<_> = clients.collect();
            let reporters = reporters.iter_mut().zip(&*accounts);
            let reporters =
                reporters.map(|(reporter, (_, of))| scope.spawn(|| reporter.work(url, of.token(), REPORTS)));
            let reporters: Vec<_> = reporters.collect();
            let token = rotated.map(|account| rotate(env, &accounts[account].0.name));
            let made: usize = clients.into_iter().map(|thread| thread.join().expect("a client")).sum();
            let reported: Vec<_> = reporters.into_iter().map(|thread| thread.join().expect("an agent")).collect();
            (made, reported, token)
        });
        if let (Some(account), Some(token)) = (rotated, token) {
            self.ended.push(std::mem::replace(&mut accounts[account].1.agents[0].token, token));
        }
        self.requests += made + reported.iter().sum::<usize>();
        // A rotation ends the session of its agent.
        let all = |(account, reports): (usize, &usize)| *reports == REPORTS || rotated == Some(account);
        made == CLIENTS * REQUESTS && reported.iter().enumerate().all(all)
    }

    /// A life without a fault: everything is looked at, values and the file itself included.
    fn inspect(&mut self) {
        let life = self.start(None);
        let url = life.url.clone().unwrap_or_else(|| panic!("does not start:\n{}", life.process.stderr()));
        for (client, (_, workspace)) in self.clients.iter_mut().zip(&self.accounts) {
            client.check(&url).expect("a server that lives");
            client.check_values(&peer::Client::dial(&url, workspace.token()).secrets());
        }
        for (reporter, (_, workspace)) in self.reporters.iter_mut().zip(&self.accounts) {
            reporter.check(workspace);
        }
        for token in self.ended.drain(..) {
            let refused = peer::Client::try_dial(&url, peer::GO, &[("Coder-Session-Token", &token)]);
            assert_eq!(refused.err().map(|refused| refused.status), Some(401), "a token that was rotated");
        }
        if !self.env.is_on_postgres() {
            assert_eq!(self.env.sql("PRAGMA integrity_check; PRAGMA foreign_key_check"), "ok\n");
        }
    }
}

/// What administrators do meanwhile, in processes of their own: a new token for an agent.
fn rotate(env: &Env, owner: &str) -> String {
    let file = env.write("rotated.yaml", definition(owner));
    let applied = env.admin(["workspace", "apply", "--rotate-tokens", "--json"]).arg(file).reveals().run();
    let token = applied.success().json()["workspaces"][0]["agents"][0]["token"].as_str().unwrap().to_owned();
    env.watch("agent token", token.as_bytes());
    token
}

fn definition(owner: &str) -> String {
    format!("owner: {owner}\nname: dev\nagent: {{ name: main }}\n")
}

fn is_possible(test: &str) -> bool {
    // At the writes of the file, that is; on PostgreSQL the server writes nothing but requests.
    is_about_the_file(test) && requires(test, &[Need::Root, Need::Program("strace", "strace"), Need::SqlClient])
}

#[test]
fn killed_at_a_hundred_writes_the_server_loses_nothing() {
    if !is_possible("killed_at_a_hundred_writes_the_server_loses_nothing") {
        return;
    }
    let mut seed = Seed::new();
    let mut world = Crashing::new(&mut seed);
    let mut killed = 0;
    for life in 1.. {
        let (call, most) = *seed.choose(&[("pwrite64", 250), ("pwrite64", 120), ("fsync", 20)]);
        killed += usize::from(world.live(Point { call, number: 1 + seed.below(most) }));
        if life % 10 == 0 {
            world.inspect();
        }
        if killed == 100 {
            break;
        }
        assert!(life < 400, "only {killed} kills: the points are too far");
    }
    world.inspect();
    assert!(world.requests >= 1_000, "only {} requests", world.requests);
}

#[test]
#[ignore = "long: a life of the server for each of its writes"]
fn killed_at_every_write_the_server_loses_nothing() {
    if !is_possible("killed_at_every_write_the_server_loses_nothing") {
        return;
    }
    let mut world = Crashing::new(&mut Seed::new());
    for call in ["pwrite64", "fsync", "ftruncate", "unlink"] {
        // After the last write of a life nothing is left to be killed at; requests vary, so many lives must agree.
        let mut whole = 0;
        for number in 1.. {
            whole = if world.live(Point { call, number }) { 0 } else { whole + 1 };
            if whole == 20 {
                eprintln!("{call}: killed at up to {} of a life", number - whole);
                break;
            }
            if number % 10 == 0 {
                world.inspect();
            }
        }
        world.inspect();
    }
}

/// Twice, with requests of every kind under way: none is refused for it, nothing is lost, and nothing is left under a
/// key that is gone.
#[test]
fn keys_are_rotated_under_every_kind_of_request() {
    if !requires("keys_are_rotated_under_every_kind_of_request", &[Need::SqlClient]) {
        return;
    }
    let mut world = Crashing::new(&mut Seed::new());
    let life = world.start(None);
    let url = life.url.clone().expect("a server");
    let (env, url) = (world.env.clone(), url.as_str());
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in &mut world.clients {
            let done = &done;
            scope.spawn(move || {
                while done.load(Ordering::SeqCst) < 2 {
                    assert_eq!(client.work(url, 10), 10, "a request was refused");
                }
                client.work(url, 10);
            });
        }
        let rotated = [(); 2].map(|()| {
            let run = env.admin(["keys", "rotate"]).run();
            done.fetch_add(1, Ordering::SeqCst);
            run
        });
        // Only now, or the others would work on for ever.
        let _ = rotated.map(|run| run.success());
    });
    drop(life);
    world.inspect();
    let keys = "SELECT count(*) FROM encryption_keys; SELECT count(*) FROM user_secrets WHERE value_key_id NOT IN
        (SELECT id FROM encryption_keys WHERE active = TRUE)";
    assert_eq!(world.env.sql(keys), "1\n0\n");
}

/// The world would pass whatever happened if it could not tell.
#[test]
#[should_panic(expected = "lost or made up")]
fn a_lost_write_is_noticed() {
    let mut seed = Seed::new();
    let mut world = Crashing::new(&mut seed);
    let life = world.start(None);
    let url = life.url.clone().unwrap();
    let rest = tests::Rest::new(&url, &world.accounts[0].0.token);
    // Random work may delete all that it made.
    let name = wait_for("a secret", LONG, || {
        assert!(world.clients[0].work(&url, 20) > 0);
        Some(rest.get("/users/me/secrets").expect(200).json[0]["name"].as_str()?.to_owned())
    });
    let _ = rest.delete(&format!("/users/me/secrets/{name}")).expect(204);
    wait_for("a check", LONG, || world.clients[0].check(&url).ok());
}

#[test]
#[should_panic(expected = "lost: Some")]
fn a_lost_report_is_noticed() {
    let mut world = Crashing::new(&mut Seed::new());
    let life = world.start(None);
    let (user, workspace) = &world.accounts[0];
    assert_eq!(world.reporters[0].work(life.url.as_ref().unwrap(), workspace.token(), REPORTS), REPORTS);
    let _ = world.env.admin(["workspace", "delete", &format!("{}/dev", user.name)]).run().success();
    let again = world.env.workspace(&definition(&user.name));
    world.reporters[0].check(&again);
}
