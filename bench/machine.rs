//! What the figures were measured on.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tests::Env;

use crate::world::World;

/// Machine, date and version of a run.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    processor: String,
    memory: String,
    kernel: String,
    version: String,
    /// Where what is durable is written.
    #[serde(default)]
    disk: String,
    #[serde(default)]
    tools: String,
    peers: Vec<String>,
}

impl Machine {
    pub fn this(world: &World) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            line.and_then(|line| Some(line.split(':').nth(1)?.trim().to_owned()))
                .unwrap_or_else(|| "unknown".to_owned())
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
        let build = if cfg!(debug_assertions) { "a debug build: these figures mean nothing" } else { "release build" };
        Self {
            date: now.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            processor: format!("{}, {cores} cores", field(&read("/proc/cpuinfo"), "model name")),
            memory: field(&read("/proc/meminfo"), "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            version: format!("{} ({build})", env!("CARGO_PKG_VERSION")),
            disk: file_system(&world.env, &world.env.home()),
            tools: tools(&world.env),
            peers: world.peers.describe(),
        }
    }

    /// A new kernel is no other machine, but another processor or memory is.
    pub fn same_hardware(&self, other: &Self) -> bool {
        (&self.processor, &self.memory) == (&other.processor, &other.memory)
    }

    pub fn markdown(&self) -> String {
        let Self { date, processor, memory, kernel, version, disk, tools, peers } = self;
        format!(
            "- Date: {date}\n- Processor: {processor}\n- Memory: {memory}\n- Kernel: {kernel}\n- Temporary files: on {disk}\n- Version: {version}\n- Measured by: {tools}\n- {}\n",
            peers.join("\n- ")
        )
    }
}

/// What counts the runs, and in which version.
fn tools(env: &Env) -> String {
    let first = |program: &str, flag: &str| {
        let output = env.program(format!("/usr/bin/{program}")).arg(flag).run();
        (output.stdout + &output.stderr).lines().next().unwrap_or(program).to_owned()
    };
    let wrk = first("wrk", "-v");
    let wrk = wrk.split(" [").next().unwrap_or_default();
    [&first("hyperfine", "--version"), &first("valgrind", "--version"), &first("strace", "-V"), wrk]
        .map(|tool| tool.replace(" -- version", ""))
        .join(", ")
}

/// `ext4 without a journal`, on which a flush is cheaper than on most; `xfs`; `tmpfs`, on which it is nothing.
pub fn file_system(env: &Env, place: &Path) -> String {
    let found = env.program("/usr/bin/findmnt").args(["-n", "-o", "FSTYPE,MAJ:MIN", "-T"]).arg(place).run().stdout;
    let mut words = found.split_whitespace();
    let (kind, number) = (words.next().unwrap_or("an unknown kind"), words.next().unwrap_or_default());
    let device = fs::read_link(Path::new("/sys/dev/block").join(number)).unwrap_or_default();
    let device = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let journals = fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let has_journal =
        journals.map(|it| it.file_name()).any(|name| name.to_string_lossy().starts_with(&format!("{device}-")));
    match kind {
        "ext4" if has_journal => "ext4 with a journal".to_owned(),
        "ext4" => "ext4 without a journal".to_owned(),
        other => other.to_owned(),
    }
}
