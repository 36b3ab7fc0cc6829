//! What an agent holds, and how often it wakes, while nothing happens.

use std::collections::HashMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use tests::{Process, wait_for};

use crate::aws;
use crate::figure::Figure;
use crate::openbao::OpenBao;
use crate::report::Report;
use crate::section::{Goal, Section};
use crate::tls;
use crate::world::World;

/// The keepalive of a minute: the server's pings wake the agent every 15 seconds, once or twice, and its own every 30, three
/// times on tokio's way to the moment and once or twice for the answer.
const KEEPALIVE: f64 = 18.0;
/// A ping and its answer wake an agent once or twice, by chance.
const WATCHED: Duration = Duration::from_mins(5);

pub fn measure(world: &mut World, report: &mut Report) {
    let encrypted = encrypted(world);
    let agent = world.env.agent(&world.server, &world.idle).start();
    world.idle.wait_lifecycle("ready");
    let bao = world.peers.get("bao").ok().map(|peer| OpenBao::start(&world.env, peer));
    let bao = bao.as_ref().map(OpenBao::idle);
    // What is slow to build is seldom run; should it fail to start, the others count all the same.
    let aws = panic::catch_unwind(AssertUnwindSafe(|| aws::idle(world))).ok().flatten();
    let (ours, its) = (agent.pid(), bao.as_ref().map(Process::pid));
    let amazons = aws.as_ref().map(|(agent, _)| agent.pid());
    let all: Vec<u32> = [ours].into_iter().chain(its).chain(amazons).collect();
    for pid in &all {
        settled(*pid);
    }
    let wakes = wakes(&all);

    let mut memory = Section::new("Memory of an idle agent with 50 secrets", "MiB");
    let mut wakeups = Section::new("Wake-ups of an idle agent with 50 secrets", "a minute");
    let plain = of(ours);
    memory.ours("`coder agent` over http, resident", plain.resident());
    memory.ours("`coder agent` over http, proportional", plain.proportional());
    memory.ours("`coder agent` over https with the system's roots, resident", encrypted.resident());
    memory.ours("`coder agent` over https with the system's roots, proportional", encrypted.proportional());
    wakeups.ours("`coder agent`", wakes[0].clone());
    let peers = [("OpenBao's agent", its), ("aws_secretsmanager_agent", amazons)];
    let found = peers.iter().filter_map(|(what, pid)| Some((what, (*pid)?)));
    for ((what, pid), wakes) in found.zip(&wakes[1..]) {
        memory.peer(format!("{what}, resident"), of(pid).resident());
        memory.peer(format!("{what}, proportional"), of(pid).proportional());
        wakeups.peer(*what, wakes.clone());
    }
    goals(world, &mut memory, plain, amazons);
    let what = "idle agent: no wake-ups a minute but those of keepalive, of which there can be 18";
    wakeups.goal(Goal::at_most(what, wakes[0].median, KEEPALIVE));
    report.add(memory);
    report.add(wakeups);
}

fn goals(world: &World, section: &mut Section, plain: Memory, amazons: Option<u32>) {
    section.goal(Goal::at_most("idle agent: below 8 MiB resident", plain.resident().median, 8.0));
    let what = "idle agent: at most half of what aws_secretsmanager_agent has resident";
    section.goal(match (amazons, world.peers.get("aws_secretsmanager_agent")) {
        (Some(pid), _) => Goal::at_most(what, plain.resident().to(&of(pid).resident()), 0.5),
        (None, Err(why)) => Goal::unknown(what, why),
        (None, Ok(_)) => Goal::unknown(what, "it did not start, or moto, which it asks, is not installed"),
    });
}

/// Over https; the server is restarted for it, and again afterwards.
fn encrypted(world: &mut World) -> Memory {
    let files = tls::files(&world.env);
    world.restart(&["--tls-cert", &files.certificate, "--tls-key", &files.key]);
    let agent = world.env.agent(&world.server, &world.idle).env("SSL_CERT_FILE", &files.roots).start();
    world.idle.wait_lifecycle("ready");
    let memory = settled(agent.pid());
    drop(agent);
    world.restart(&[]);
    memory
}

/// Waits until its memory has stopped changing.
pub fn settled(pid: u32) -> Memory {
    let mut last = (0, 0);
    wait_for("memory that stays the same", tests::LONG, || {
        let now = of(pid);
        last = if now.resident == last.0 { (now.resident, last.1 + 1) } else { (now.resident, 0) };
        (last.1 == 200).then_some(now)
    })
}

/// How often a minute the threads of each have waited for something and got it.
fn wakes(pids: &[u32]) -> Vec<Figure> {
    let before: Vec<_> = pids.iter().map(|pid| waits(*pid)).collect();
    thread::sleep(WATCHED);
    let woken = pids.iter().zip(before).map(|(pid, before)| {
        let grown = waits(*pid).into_iter().map(|(thread, count)| count - before.get(&thread).unwrap_or(&0));
        Figure::exact(f64::from(grown.sum::<u32>()) * 60.0 / WATCHED.as_secs_f64())
    });
    woken.collect()
}

/// By thread: a pool's idle threads end meanwhile.
fn waits(pid: u32) -> HashMap<String, u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process").flatten();
    let count = |status: &str| {
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
    };
    threads
        .filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), count(&status)?))
        })
        .collect()
}

/// In KiB.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub proportional: u64,
}

impl Memory {
    /// In MiB.
    pub fn resident(self) -> Figure {
        mib(self.resident)
    }

    /// In MiB: pages that several processes have are divided among them.
    pub fn proportional(self) -> Figure {
        mib(self.proportional)
    }
}

fn mib(kib: u64) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    Figure::exact(kib as f64 / 1024.0)
}

pub fn of(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a running process");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a figure")
    };
    Memory { resident: field("Rss:"), proportional: field("Pss:") }
}
