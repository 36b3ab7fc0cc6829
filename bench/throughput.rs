//! What one server answers: manifests, and the secrets API beside a bare handler and OpenBao.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::time::{Duration, Instant};

use tests::fleet::Fleet;
use tests::{Env, LONG, Process, Server};

use crate::bao::Bao;
use crate::figure::{Figure, short};
use crate::fill::Filled;
use crate::load::{self, Work};
use crate::report::Report;
use crate::section::Section;
use crate::world::World;
use crate::wrk::{self, Contender, Rate};
use crate::{growth, memory, usage};

const USERS: usize = 1000;
const SECRETS: usize = 50;
/// Secrets that the requests go to in turn.
const NAMES: usize = 10;
/// Of each kind of load, and how long.
const ROUNDS: usize = 4;
const SPAN: Duration = Duration::from_secs(2);
/// Flushes that are timed.
const FLUSHES: u32 = 200;

/// What a profile of these figures led to.
const DONE: &str = "\
What profiles led to: the SQL library keeps a thread for each connection and hands over row by row, so a manifest was some sixty trips \
between threads, a third of its time in the scheduler. It is one statement and one row now. Operations that share a transaction share \
the statement that separates them, and a lifecycle report is one statement less. Of what is left, a fifth is in the kernel, a fifth in \
allocations, which are wiped when they are freed, and a tenth in SQLite.";

pub fn measure(world: &mut World, report: &mut Report) {
    let env = Env::quiet();
    drop(growth::serve(&env));
    let mut filled = Filled::new(SECRETS);
    filled.up_to(&env, USERS);
    let server = growth::serve(&env);
    manifests(&server, &filled, report);
    connected(&server, &filled, report);
    secrets(world, &env, &server, report);
}

fn manifests(server: &Server, filled: &Filled, report: &mut Report) {
    let (mut open, mut dialled, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = usage::cpu(server.pid());
        let rate = load::rate(server.address(), &filled.tokens, Work::Fetch, SPAN);
        cpu.push((usage::cpu(server.pid()) - before) / (rate * SPAN.as_secs_f64()) * 1000.0);
        open.push(rate);
        dialled.push(load::rate(server.address(), &filled.tokens, Work::Connect, SPAN));
    }
    let mut section = Section::new("Manifests of 50 secrets from one server", "per second");
    let cpu = Figure::of(cpu).median;
    section.text(format!(
        "The load shares the cores with the server. A manifest over an open connection is {cpu:.2} ms of the server's processor time."
    ));
    section.text(DONE);
    section.ours("over open connections", Figure::of(open));
    section.ours("each over a connection of its own", Figure::of(dialled));
    report.add(section);
}

fn connected(server: &Server, filled: &Filled, report: &mut Report) {
    memory::settled(server.pid());
    let before = usage::resident(server.pid()).0;
    let fleet = Fleet::start(server.address(), filled.tokens.clone(), SECRETS);
    fleet.served(LONG);
    memory::settled(server.pid());
    let after = usage::resident(server.pid()).0;
    let mut section = Section::new(format!("Server memory for a connected agent, {USERS} of them"), "KiB");
    #[expect(clippy::cast_precision_loss, reason = "few agents")]
    section.ours("`coder-server`", Figure::exact((after - before) * 1024.0 / USERS as f64));
    report.add(section);
}

fn secrets(world: &World, env: &Env, server: &Server, report: &mut Report) {
    let bao = world.peers.get("bao").map(|peer| peer.program.clone());
    let stores = bao.map(|program| {
        [("OpenBao, in memory", Bao::in_memory(env, &program)), ("OpenBao, on disk", Bao::on_disk(env, &program))]
    });
    for (_, bao) in stores.iter().flatten() {
        (0..NAMES).for_each(|number| bao.keep(&format!("secret-{number}"), &["value=0".to_owned()]));
    }
    let token = growth::token(env, &Filled::user(0));
    let raw = Raw::start(env);
    let contenders = |method: &str, body: Option<[&str; 2]>| {
        let (ours, theirs) = (body.map(|body| body[0]), body.map(|body| body[1]));
        let header = ("Coder-Session-Token", token.as_str());
        let path = ("/api/v2/users/me/secrets/secret-%d", NAMES);
        let mut all = vec![
            Contender::new("`coder-server`", server.url(), method, header, path, ours),
            Contender::new("a bare axum handler", &raw.url, method, header, path, ours),
        ];
        for (what, bao) in stores.iter().flatten() {
            let (method, kept) = match body {
                Some(_) => ("POST", "/v1/secret/data/secret-%d"),
                None => (method, "/v1/secret/metadata/secret-%d"),
            };
            let header = ("X-Vault-Token", bao.token.as_str());
            all.push(Contender::new(what, &bao.url, method, header, (kept, NAMES), theirs));
        }
        all
    };
    let reads = contenders("GET", None);
    let text = "`coder-server` tells people what is known of a secret and never its value, so the others are asked for that too. ";
    add("Secrets API: reads of what is known of a secret", text, &wrk::race(env, &reads, || ()), &reads, None, report);
    let writes = contenders("PATCH", Some([r#"{"value":"value-%d"}"#, r#"{"data":{"value":"value-%d"}}"#]));
    let text = "An answered write of `coder-server` is on the disk; those that wait at the same time share a flush. OpenBao on disk \
                is its integrated storage, one node. ";
    let mut flushed = Vec::new();
    let rates = wrk::race(env, &writes, || flushed.push(flushes(env)));
    add("Secrets API: writes", text, &rates, &writes, Some(Figure::of(flushed)), report);
}

fn add(
    title: &str,
    text: &str,
    rates: &[Rate],
    contenders: &[Contender],
    flushes: Option<Figure>,
    report: &mut Report,
) {
    let mut section = Section::new(format!("{title}, {} connections", wrk::CONNECTIONS), "per second");
    let mut waits = Vec::new();
    for (index, (one, rate)) in contenders.iter().zip(rates).enumerate() {
        waits.push(format!("{} {} and {}", one.what, short(rate.p50.median), short(rate.p99.median)));
        match index {
            0 => section.ours(&one.what, rate.requests.clone()),
            1 => section.limit(&one.what, rate.requests.clone()),
            _ => section.peer(&one.what, rate.requests.clone()),
        }
    }
    section.text(format!("{text}Half of the answers, and 99 %, came within these milliseconds: {}.", waits.join("; ")));
    if let Some(flushes) = flushes {
        section.limit("flushes of one file, one after the other", flushes);
    }
    report.add(section);
}

/// How many times a second a small write can be brought to the disk.
fn flushes(env: &Env) -> f64 {
    let mut file = File::create(env.path("work/flushed")).expect("make a file");
    let start = Instant::now();
    for number in 0..FLUSHES {
        file.rewind().and_then(|()| file.write_all(&number.to_be_bytes())).expect("write");
        file.sync_data().expect("flush");
    }
    f64::from(FLUSHES) / start.elapsed().as_secs_f64()
}

/// A process of its own, as all contenders are.
struct Raw {
    url: String,
    _process: Process,
}

impl Raw {
    fn start(env: &Env) -> Self {
        let program = std::env::current_exe().expect("our own path");
        let mut process = env.program(program).arg("raw").spawn("raw");
        let line = process.line_with("listening on", LONG);
        let address = line.rsplit(' ').next().unwrap_or_default();
        Self { url: format!("http://{address}"), _process: process }
    }
}
