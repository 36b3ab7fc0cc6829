//! What the figures were measured on, and with.

use std::fs;
use std::path::Path;

use tests::binaries;

use crate::report::Row;

const MIB: f64 = 1_048_576.0;

/// Machine, date and versions, as a list.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.and_then(|line| Some(line.split(':').nth(1)?.trim().to_owned())).unwrap_or_else(|| "unknown".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let today = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).date();
    format!(
        "- Date: {today}\n- Processor: {}, {cores} cores\n- Memory: {}\n- Kernel: {}\n- Version: {} ({})\n",
        field(&read("/proc/cpuinfo"), "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) { "a debug build: these figures mean nothing" } else { "release build" },
    )
}

/// How large the executables are.
pub fn sizes() -> Vec<Row> {
    let size = |name: &str, path: &Path, goal| {
        #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
        let bytes = fs::metadata(path).expect("an executable").len() as f64;
        Row::new(format!("`{name}`, stripped"), format!("{:.2} MiB", bytes / MIB), goal)
    };
    vec![size("coder", &binaries().coder, "below 8 MiB"), size("coder-server", &binaries().server, "")]
}
