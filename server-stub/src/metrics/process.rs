//! The process, under the names that every Prometheus client gives these.

use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// When the process began to count.
static START: LazyLock<f64> = LazyLock::new(now);

#[derive(Default)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    start: Gauge<f64, AtomicU64>,
}

impl Process {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("process_cpu_seconds", "User and system time", self.cpu.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", self.resident.clone());
        registry.register("process_open_fds", "Open files", self.open_files.clone());
        registry.register("process_max_fds", "Limit of open files", self.max_files.clone());
        registry.register("process_start_time_seconds", "When the process started", self.start.clone());
        self.start.set(*START);
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What cannot be had keeps its last number.
pub(super) fn measure(process: &Process) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let used = seconds(usage.user_time()) + seconds(usage.system_time());
        process.cpu.inc_by((used - process.cpu.get()).max(0.0));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    if let Some(kilobytes) = resident {
        process.resident.set(i64::saturating_mul(kilobytes, 1024));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is that of the directory.
        process.open_files.set(i64::try_from(files.count().saturating_sub(1)).unwrap_or(i64::MAX));
    }
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i64::try_from(limit).ok());
    process.max_files.set(limit.unwrap_or(i64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "a process does not live for so many seconds")]
fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
