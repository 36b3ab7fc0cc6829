//! What the figures were measured on.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::peers::Peers;

/// Machine, date and version of a run.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    processor: String,
    memory: String,
    kernel: String,
    version: String,
    peers: Vec<String>,
}

impl Machine {
    pub fn this(peers: &Peers) -> Self {
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
            peers: peers.describe(),
        }
    }

    /// A new kernel is no other machine, but another processor or memory is.
    pub fn same_hardware(&self, other: &Self) -> bool {
        (&self.processor, &self.memory) == (&other.processor, &other.memory)
    }

    pub fn markdown(&self) -> String {
        let Self { date, processor, memory, kernel, version, peers } = self;
        format!(
            "- Date: {date}\n- Processor: {processor}\n- Memory: {memory}\n- Kernel: {kernel}\n- Version: {version}\n- {}\n",
            peers.join("\n- ")
        )
    }
}
