//! What a process has used so far, and what it holds.

use std::fs;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Seconds of processor time of a running process, of all its threads.
pub fn cpu(pid: u32) -> f64 {
    let pid = Pid::from_raw(pid.try_into().expect("a pid fits"));
    let spent = clock_getcpuclockid(pid).and_then(nix::time::ClockId::now).expect("a running process");
    Duration::from(spent).as_secs_f64()
}

/// Resident memory in MiB: now, and at its highest.
pub fn resident(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a figure");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("kibibytes") / 1024.0
    };
    (field("VmRSS:"), field("VmHWM:"))
}
