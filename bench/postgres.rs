//! PostgreSQL beside the embedded SQLite, with the same data and in the same rounds.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;

use tests::fleet::Fleet;
use tests::{Env, Postgres, Server};

use crate::figure::{Figure, short};
use crate::fill::Filled;
use crate::load::{self, Work};
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::world::World;
use crate::wrk::{self, Contender};
use crate::{growth, rounds, storm, usage};

const USERS: usize = 1000;
const SECRETS: usize = 50;
/// Secrets that writes go to in turn.
const NAMES: usize = 10;
/// Of manifests; one of each engine in each round.
const ROUNDS: usize = 6;
const AGENTS: usize = 10_000;
const STORMS: usize = 3;
/// Of the growth, with few secrets each.
const FEW_USERS: usize = 100;
const MANY_USERS: usize = 100_000;
const FEW_SECRETS: usize = 5;
/// Agents that are asked, spread over all users, and how often each.
const ASKED: usize = 200;
const PASSES: usize = 10;

/// As an administrator has it: an answered write is on the disk.
const SETTINGS: [&str; 5] = [
    "fsync = on",
    "log_statement = none",
    "log_min_duration_statement = -1",
    "shared_buffers = 256MB",
    "max_wal_size = 4GB",
];

/// A database of SQLite, and a copy of it in PostgreSQL.
struct Both {
    env: Env,
    filled: Filled,
    postgres: Postgres,
    url: String,
}

impl Both {
    fn new(secrets: usize) -> Self {
        let env = Env::quiet();
        drop(growth::serve(&env));
        let postgres = Postgres::start(&env, &SETTINGS, "host all all 127.0.0.1/32 trust");
        let url = postgres.url();
        Self { env, filled: Filled::new(secrets), postgres, url }
    }

    /// The same users in both. No server may run meanwhile.
    fn up_to(&mut self, users: usize) {
        eprintln!("postgres: {users} users");
        self.filled.up_to(&self.env, users);
        // What the first server of a version does to rows that it finds.
        growth::serve(&self.env).terminate();
        self.postgres.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        // A move puts the file aside, so it moves a copy.
        let copy = self.env.path("copy");
        let _ = fs::remove_dir_all(&copy);
        DirBuilder::new().mode(0o700).create(&copy).expect("make a directory");
        fs::copy(self.env.data_dir().join("coder.db"), copy.join("coder.db")).expect("copy the database");
        let moved = self.env.program(&tests::binaries().server).args(["move", "--data-dir"]).arg(&copy);
        let moved = moved.arg("--encryption-key-file").arg(self.env.data_dir().join("encryption.key"));
        let moved = moved.env("CODER_SERVER_MOVE_TO", &self.url);
        let _ = moved.limit(tests::LONG * 30).run().success();
        self.postgres.sql("VACUUM ANALYZE");
    }

    fn sqlite(&self) -> Server {
        growth::serve(&self.env)
    }

    fn postgres(&self, name: &str) -> Server {
        self.env.server_by_way_of(&self.url, name, ["--rate-limit", "0"])
    }
}

pub fn measure(_: &mut World, report: &mut Report) {
    let mut both = Both::new(SECRETS);
    both.up_to(USERS);
    manifests(&both, report);
    writes(&both, report);
    both.up_to(AGENTS);
    storms(&both, report);
    drop(both);
    growth(report);
}

fn manifests(both: &Both, report: &mut Report) {
    let (sqlite, postgres) = (both.sqlite(), both.postgres("second"));
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for index in rounds::shuffled(2) {
            let server = [&sqlite, &postgres][index];
            rates[index].push(load::rate(
                server.address(),
                &both.filled.tokens,
                Work::Fetch,
                std::time::Duration::from_secs(2),
            ));
        }
    }
    compare(&format!("PostgreSQL: manifests of {SECRETS} secrets"), "manifests", rates.map(Figure::of), report);
}

fn writes(both: &Both, report: &mut Report) {
    let (sqlite, postgres) = (both.sqlite(), both.postgres("second"));
    let user = Filled::user(0);
    let token = growth::token(&both.env, &user);
    let made = both.env.program(&tests::binaries().server).args(["token", "create", &user, "--json", "--data-dir"]);
    let made = made.arg(both.env.path("second")).env("CODER_SERVER_DATABASE_URL", &both.url);
    let made = made.arg("--encryption-key-file").arg(both.env.data_dir().join("encryption.key")).reveals().run();
    let theirs = made.success().json()["session_token"].as_str().expect("a token").to_owned();
    let contender = |what: &str, server: &Server, token: &str| {
        let header = ("Coder-Session-Token", token);
        let path = ("/api/v2/users/me/secrets/secret-%d", NAMES);
        Contender::new(what, server.url(), "PATCH", header, path, Some(r#"{"value":"value-%d"}"#))
    };
    let contenders = [contender("SQLite", &sqlite, &token), contender("PostgreSQL", &postgres, &theirs)];
    let rates = wrk::race(&both.env, &contenders, || ());
    let [one, other] = &rates[..] else { return };
    let title = format!("PostgreSQL: writes of secrets, {} connections", wrk::CONNECTIONS);
    compare(&title, "writes", [one.requests.clone(), other.requests.clone()], report);
}

fn compare(title: &str, what: &str, [sqlite, postgres]: [Figure; 2], report: &mut Report) {
    let mut section = Section::new(title, "per second");
    section.text("PostgreSQL, the server and the load share the cores of one machine. An answered write is on the disk with both.");
    let ratio = postgres.to(&sqlite);
    section.ours("one server on SQLite", sqlite);
    section.limit("one server on PostgreSQL", postgres);
    section.goal(Goal::at_least(format!("PostgreSQL: {what}, to those of SQLite"), ratio, 0.5));
    report.add(section);
}

fn storms(both: &Both, report: &mut Report) {
    let (mut alone, mut shared, mut lost) = (Vec::new(), Vec::new(), 0);
    for _ in 0..STORMS {
        let server = both.sqlite();
        alone.push(boot(&[&server], &both.filled.tokens, &mut lost));
        drop(server);
        let servers = [both.postgres("second"), both.postgres("third")];
        shared.push(boot(&servers.each_ref(), &both.filled.tokens, &mut lost));
        eprintln!(
            "postgres: {AGENTS} agents after {:.1} s, on SQLite {:.1} s",
            shared[shared.len() - 1],
            alone[alone.len() - 1]
        );
    }
    let (alone, shared) = (Figure::of(alone), Figure::of(shared));
    let title = format!("PostgreSQL: {AGENTS} agents dial two servers at once, and one server on SQLite");
    let mut section = Section::new(title, "s until the last is ready");
    let ratio = shared.to(&alone);
    section.ours("one server on SQLite", alone);
    section.limit("two servers on PostgreSQL, on the same cores", shared);
    #[expect(clippy::cast_precision_loss, reason = "few agents")]
    section.goal(Goal::at_most("PostgreSQL: refused or lost connections of the storms: none", lost as f64, 0.0));
    section.goal(Goal::at_most("PostgreSQL: storm at two servers, to that at one on SQLite", ratio, 1.6));
    report.add(section);
}

/// Seconds until the agents are ready, each at its server.
fn boot(servers: &[&Server], tokens: &[String], lost: &mut usize) -> f64 {
    let share = tokens.len().div_ceil(servers.len());
    let fleets: Vec<_> = tokens
        .chunks(share)
        .zip(servers)
        .map(|(tokens, server)| Fleet::start(server.address(), tokens.to_vec(), SECRETS))
        .collect();
    let waves: Vec<_> = fleets.iter().map(|fleet| fleet.served(storm::LIMIT)).collect();
    *lost += waves.iter().map(|wave| wave.failures.len()).sum::<usize>();
    waves.iter().map(|wave| wave.percentile(1.0).as_secs_f64()).fold(0.0, f64::max)
}

fn growth(report: &mut Report) {
    let mut both = Both::new(FEW_SECRETS);
    let title = format!("PostgreSQL: users of {FEW_SECRETS} secrets in one database");
    let mut section = Section::new(title, "ms a manifest");
    let costs = [FEW_USERS, MANY_USERS].map(|users| {
        both.up_to(users);
        let server = both.postgres("second");
        let tokens = both.filled.tokens.iter().step_by((users / ASKED).max(1)).cloned().collect::<Vec<_>>();
        let mut before = 0.0;
        let took = load::latencies(server.address(), &tokens, PASSES, || before = usage::cpu(server.pid()));
        let cpu = (usage::cpu(server.pid()) - before) * 1000.0 / f64::from(u32::try_from(took.len()).expect("few"));
        let median = took[took.len() / 2].as_secs_f64() * 1000.0;
        section.text(format!("{users} users: {} ms of the server's processor time.", short(cpu)));
        section.ours(format!("{users} users"), Figure::exact(median));
        median
    });
    let what = format!("PostgreSQL: a manifest with {MANY_USERS} users to one with {FEW_USERS}");
    section.goal(Goal::at_most(what, costs[1] / costs[0], 1.5));
    report.add(section);
    both.remove();
}

impl Both {
    /// Gigabytes, which the hunt for values at the end of the world would read.
    fn remove(self) {
        for directory in [self.env.data_dir(), self.env.path("copy")] {
            fs::remove_dir_all(directory).expect("remove the database");
        }
        self.postgres.remove();
    }
}
