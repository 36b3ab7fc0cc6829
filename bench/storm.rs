//! Agents that all connect at once, and a server that is killed under them.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tests::fleet::{Fleet, Wave};
use tests::{Env, LONG, Server, wait_until};

use crate::figure::{Figure, short};
use crate::fill::Filled;
use crate::page;
use crate::plot::{self, Curve};
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::world::World;
use crate::{growth, usage};

const SECRETS: usize = 50;
const SMALL: [usize; 3] = [10, 100, 1000];
const LARGE: usize = 10_000;
const STORMS: usize = 10;
/// No storm takes this long on a machine that works.
pub const LIMIT: Duration = Duration::from_mins(5);
/// What an agent sees of a server that is killed, and of one that is not there.
const ENDS: [&str; 3] = ["the session ended", "the connection ended", "connect: "];
/// How long the server is away that was killed. Long enough for the pauses between dials to grow.
const AWAY: Duration = Duration::from_secs(15);
/// Files of a server without connections.
const FEW_FILES: usize = 200;

/// What one storm came to.
struct Storm {
    wave: Wave,
    /// Seconds of processor time of the server, and of the agents together.
    server: f64,
    agents: f64,
    /// MiB of the server, with all of them connected, and at its highest so far.
    resident: f64,
    highest: f64,
}

pub fn measure(_: &mut World, report: &mut Report) {
    let env = Env::quiet();
    drop(growth::serve(&env));
    let mut filled = Filled::new(SECRETS);
    filled.up_to(&env, LARGE);
    let small = SMALL.map(|agents| boot(&growth::serve(&env), &filled.tokens[..agents]).1);

    let mut server = growth::serve(&env);
    let mut storms = Vec::new();
    let mut fleet = None;
    for _ in 0..STORMS {
        drop(fleet.take());
        wait_until("the server to see them go", LONG, || files(&server) < FEW_FILES);
        let (booted, storm) = boot(&server, &filled.tokens);
        eprintln!("storm: {LARGE} agents ready after {:.1} s", storm.until(1.0));
        storms.push(storm);
        fleet = Some(booted);
    }
    let back = restart(&env, &mut server, &fleet.expect("a fleet"));
    boots(&storms, report);
    killed(&back, report);
    sizes(small.iter().chain([&storms[0]]), report);
}

/// Starts one agent for each token and waits until all are ready.
fn boot(server: &Server, tokens: &[String]) -> (Fleet, Storm) {
    let before = spent(server);
    let fleet = Fleet::start(server.address(), tokens.to_vec(), SECRETS);
    let wave = fleet.served(LIMIT);
    (fleet, Storm::new(server, wave, before))
}

/// Kills the server under its agents, starts it again when all wait for it, and waits until they are back. What it came to
/// since the server was there again.
fn restart(env: &Env, server: &mut Server, fleet: &Fleet) -> Storm {
    fleet.next_wave();
    let start = Instant::now();
    server.kill();
    thread::sleep(AWAY);
    *server = env.server_with(["--rate-limit", "0", "--listen", server.address()]);
    let (back, before) = (start.elapsed(), usage::cpu(std::process::id()));
    Storm::new(server, fleet.served(LIMIT).since(back), (0.0, before))
}

fn spent(server: &Server) -> (f64, f64) {
    (usage::cpu(server.pid()), usage::cpu(std::process::id()))
}

fn files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("a running server").count()
}

impl Storm {
    fn new(server: &Server, wave: Wave, before: (f64, f64)) -> Self {
        let now = spent(server);
        let (resident, highest) = usage::resident(server.pid());
        Self { wave, server: now.0 - before.0, agents: now.1 - before.1, resident, highest }
    }

    /// Seconds until this part of the agents was served.
    fn until(&self, part: f64) -> f64 {
        self.wave.percentile(part).as_secs_f64()
    }

    /// What the processor time of both sides comes to on all cores, in seconds: nothing could have been faster.
    fn floor(&self) -> f64 {
        (self.server + self.agents) / f64::from(cores())
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).expect("few cores"))
}

fn figure(storms: &[Storm], value: impl Fn(&Storm) -> f64) -> Figure {
    Figure::of(storms.iter().map(value).collect())
}

fn boots(storms: &[Storm], report: &mut Report) {
    let mut section = Section::new(format!("Boot storm: {LARGE} agents dial one server at once"), "s");
    let (server, agents) = (figure(storms, |one| one.server), figure(storms, |one| one.agents));
    section.text(format!(
        "Each dials, fetches its manifest of {SECRETS} secrets, reports its start and that it is ready, and stays. {STORMS} storms in \
         a row on one server. The processor time is {} s of the server and {} s of the agents, who share its {} cores.",
        short(server.median),
        short(agents.median),
        cores(),
    ));
    let resident: Vec<String> = storms.iter().map(|one| short(one.resident)).collect();
    section.text(format!("MiB of the server with all connected, storm by storm: {}.", resident.join(", ")));
    section.ours("until the last is ready", figure(storms, |one| one.until(1.0)));
    section.ours("until half of them are", figure(storms, |one| one.until(0.5)));
    section.ours("until 99 % of them are", figure(storms, |one| one.until(0.99)));
    section.limit("the processor time of both sides, on all cores", figure(storms, Storm::floor));
    let lost: u32 = storms.iter().map(|one| u32::try_from(one.wave.failures.len()).expect("few")).sum();
    section.goal(Goal::at_most("boot storm: refused or lost connections: none", f64::from(lost), 0.0));
    let highest = storms[STORMS - 1].highest;
    section.goal(Goal::at_most("boot storm: the server below 1 GiB at its highest (MiB)", highest, 1024.0));
    let late = figure(storms, |one| one.until(1.0) / one.floor()).median;
    section.goal(Goal::at_most(
        "boot storm: the last ready within 1.25 times what the processor time explains",
        late,
        1.25,
    ));
    // The first storm fills caches that stay, and what an allocator keeps for later varies.
    let [early, late] = [&storms[1..STORMS / 2], &storms[STORMS / 2..]].map(|some| figure(some, |one| one.resident));
    let what = "boot storm: memory after the last five to that after the second to fifth, within 5 %";
    section.goal(Goal::at_most(what, late.median / early.median, 1.05));
    report.add(section);
}

fn killed(back: &Storm, report: &mut Report) {
    let mut section = Section::new(
        format!("The server killed under {LARGE} agents, and there again after {} s", AWAY.as_secs()),
        "s",
    );
    let wave = &back.wave;
    let most = wave.most_dials_a_second();
    section.text(format!(
        "Killed by SIGKILL; times count from when it listens again. The pauses between dials are the agent's own, and the last ones \
         come at the end of theirs. {} dials since then, at most {most} within one second.",
        wave.dials.len(),
    ));
    section.ours("until the last is back", Figure::exact(back.until(1.0)));
    section.ours("until half of them are", Figure::exact(back.until(0.5)));
    section.ours("until 99 % of them are", Figure::exact(back.until(0.99)));
    section.limit("the processor time of both sides, on all cores", Figure::exact(back.floor()));
    let expected = |failure: &&String| ENDS.iter().any(|end| failure.starts_with(end));
    let refused = wave.failures.len() - wave.failures.iter().filter(expected).count();
    #[expect(clippy::cast_precision_loss, reason = "few agents")]
    let (refused, part) = (refused as f64, most as f64 / LARGE as f64);
    section.goal(Goal::at_most("killed server: failures but that it was away: none", refused, 0.0));
    let what = "killed server: no stampede, the part of the agents that dial within one second of its return or later";
    section.goal(Goal::at_most(what, part, 0.33));
    report.add(section);
}

fn sizes<'a>(storms: impl Iterator<Item = &'a Storm>, report: &mut Report) {
    let mut section = Section::new("Boot storms by number of agents", "ms of processor time for each agent");
    let (mut last, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut table =
        "| agents | last ready after, s | half after, s | 99 % after, s | server, MiB |\n|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (agents, storm) in SMALL.into_iter().chain([LARGE]).zip(storms) {
        let [until, half, most] = [1.0, 0.5, 0.99].map(|part| storm.until(part));
        let each = (storm.server + storm.agents) * 1000.0 / f64::from(u32::try_from(agents).expect("few"));
        let cells = [until, half, most, storm.resident].map(short).join(" | ");
        let _ = writeln!(table, "| {agents} | {cells} |");
        section.ours(format!("{agents} agents"), Figure::exact(each));
        #[expect(clippy::cast_precision_loss, reason = "few agents")]
        let x = agents as f64;
        last.push((x, until));
        cpu.push((x, storm.server + storm.agents));
        memory.push((x, storm.resident));
    }
    let curve = |name: &str, points| Curve { name: name.to_owned(), points };
    let curves = [
        curve("until the last is ready, s", last),
        curve("processor time of both sides, s", cpu),
        curve("server memory, MiB", memory),
    ];
    let plot = plot::svg("Boot storms", "agents", "", &curves);
    section.text(table);
    section.text(page::attach("performance-storm.svg", "Boot storms by number of agents", &plot));
    report.add(section);
}
