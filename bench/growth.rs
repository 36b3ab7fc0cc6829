//! What the server costs when many users are in the database.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Env, Rest, Server};

use crate::figure::{Figure, short};
use crate::fill::Filled;
use crate::page;
use crate::plot::{self, Curve};
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::world::World;
use crate::{load, usage};

const USERS: [usize; 4] = [100, 1000, 10_000, 100_000];
const SECRETS: usize = 50;
/// Of `make bench-long`, with fewer secrets each.
const MANY_USERS: [usize; 2] = [100, 1_000_000];
const FEW_SECRETS: usize = 5;

/// Agents and users that are asked, spread over all.
const AGENTS: usize = 200;
const PEOPLE: usize = 20;
/// Fetches of each agent, requests of each user.
const PASSES: usize = 10;

/// What one size of the database came to.
struct Point {
    users: usize,
    manifest: Cost,
    read: Cost,
    write: Cost,
    /// From the start of the process until it listens.
    start: Duration,
    backup: Duration,
    /// MiB, after all of that.
    resident: f64,
    file: f64,
}

/// Of one request.
#[derive(Clone, Copy)]
struct Cost {
    /// Half of them took at most this long.
    median: Duration,
    /// Processor time of the server, in milliseconds.
    cpu: f64,
}

pub fn measure(world: &mut World, report: &mut Report) {
    add(&points(&USERS, SECRETS), SECRETS, "performance-growth.svg", report);
    if world.long {
        add(&points(&MANY_USERS, FEW_SECRETS), FEW_SECRETS, "performance-growth-long.svg", report);
    }
}

fn points(users: &[usize], secrets: usize) -> Vec<Point> {
    let env = Env::quiet();
    drop(serve(&env));
    let mut filled = Filled::new(secrets);
    let mut points = Vec::new();
    for users in users {
        eprintln!("growth: filling the database with {users} users");
        filled.up_to(&env, *users);
        points.push(point(&env, &filled));
    }
    // Gigabytes, which the hunt for values at the end of the world would read.
    fs::remove_dir_all(env.data_dir()).expect("remove the database");
    points
}

fn add(points: &[Point], secrets: usize, plot: &str, report: &mut Report) {
    let mut section = Section::new(format!("Growth: users of {secrets} secrets in one database"), "ms a manifest");
    let mut table = "| users | manifest | secret read | secret written | start of the server | backup | server, MiB | file, MiB |\n\
                     |---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let both = |cost: Cost| format!("{} ({})", short(milliseconds(cost.median)), short(cost.cpu));
    for point in points {
        let costs = [point.manifest, point.read, point.write].map(both).join(" | ");
        let rest =
            [milliseconds(point.start), milliseconds(point.backup), point.resident, point.file].map(short).join(" | ");
        let _ = writeln!(table, "| {} | {costs} | {rest} |", point.users);
        section.ours(format!("{} users", point.users), Figure::exact(milliseconds(point.manifest.median)));
    }
    section.text("Milliseconds of one request after the other, median (processor time of the server in brackets).");
    section.text(table);
    section.text(page::attach(plot, "Cost by number of users", &svg(points)));
    let (first, last) = (&points[0], &points[points.len() - 1]);
    let ratio = last.manifest.median.as_secs_f64() / first.manifest.median.as_secs_f64();
    let what = format!("a manifest with {} users to one with {}, at most 1.5", last.users, first.users);
    section.goal(Goal::at_most(what, ratio, 1.5));
    report.add(section);
}

fn svg(points: &[Point]) -> String {
    let curve = |name: &str, value: &dyn Fn(&Point) -> f64| {
        #[expect(clippy::cast_precision_loss, reason = "few users")]
        let points = points.iter().map(|point| (point.users as f64, value(point))).collect();
        Curve { name: name.to_owned(), points }
    };
    let curves = [
        curve("manifest", &|point| milliseconds(point.manifest.median)),
        curve("secret written", &|point| milliseconds(point.write.median)),
        curve("start of the server", &|point| milliseconds(point.start)),
        curve("backup", &|point| milliseconds(point.backup)),
    ];
    plot::svg("Cost by number of users", "users", "ms", &curves)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Measures a database that has just been filled; its server does not run.
fn point(env: &Env, filled: &Filled) -> Point {
    let begin = Instant::now();
    let server = serve(env);
    let start = begin.elapsed();
    let spread = |count: usize| (0..filled.tokens.len()).step_by((filled.tokens.len() / count).max(1));
    let tokens: Vec<String> = spread(AGENTS).map(|number| filled.tokens[number].clone()).collect();
    let people: Vec<Rest> =
        spread(PEOPLE).map(|number| Rest::new(server.url(), &token(env, &Filled::user(number)))).collect();
    let (name, mut count) = (Filled::secret(0), 0);
    Point {
        users: filled.tokens.len(),
        manifest: manifest(&server, &tokens),
        read: cost(&server, &people, |rest| drop(rest.get(&format!("/users/me/secrets/{name}")).expect(200))),
        write: cost(&server, &people, |rest| {
            count += 1;
            drop(rest.patch(&format!("/users/me/secrets/{name}"), &json!({ "value": format!("{count}") })).expect(200));
        }),
        start,
        backup: backup(env),
        resident: usage::resident(server.pid()).0,
        file: mebibytes(env),
    }
}

/// A server without a limit of requests; `wrk` alone asks for more than a person may.
pub fn serve(env: &Env) -> Server {
    env.server_with(["--rate-limit", "0"])
}

/// A session token of a user.
pub fn token(env: &Env, user: &str) -> String {
    let made = env.admin(["token", "create", user, "--json"]).reveals().run().success().json();
    made["session_token"].as_str().expect("a token").to_owned()
}

fn manifest(server: &Server, tokens: &[String]) -> Cost {
    let mut before = 0.0;
    let took = load::latencies(server.address(), tokens, PASSES, || before = usage::cpu(server.pid()));
    Cost::new(&took, usage::cpu(server.pid()) - before)
}

fn cost(server: &Server, people: &[Rest], mut ask: impl FnMut(&Rest)) -> Cost {
    people.iter().for_each(&mut ask);
    let before = usage::cpu(server.pid());
    let mut took = Vec::with_capacity(people.len() * PASSES);
    for rest in std::iter::repeat_n(people, PASSES).flatten() {
        let start = Instant::now();
        ask(rest);
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Cost::new(&took, usage::cpu(server.pid()) - before)
}

impl Cost {
    /// `cpu` is that of all of them, in seconds.
    fn new(sorted: &[Duration], cpu: f64) -> Self {
        let count = u32::try_from(sorted.len()).expect("few requests");
        Self { median: sorted[sorted.len() / 2], cpu: cpu * 1000.0 / f64::from(count) }
    }
}

fn backup(env: &Env) -> Duration {
    let file = env.path("work/backup.db");
    let begin = Instant::now();
    let _ = env.admin(["backup"]).arg(&file).limit(Duration::from_mins(10)).run().success();
    let took = begin.elapsed();
    fs::remove_file(file).expect("remove the backup");
    took
}

fn mebibytes(env: &Env) -> f64 {
    let files = ["coder.db", "coder.db-wal"].map(|name| fs::metadata(env.data_dir().join(name)));
    #[expect(clippy::cast_precision_loss, reason = "no decimals are shown")]
    let bytes = files.into_iter().flatten().map(|file| file.len()).sum::<u64>() as f64;
    bytes / 1_048_576.0
}
