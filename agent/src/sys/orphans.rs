//! Descendants of the agent that lost their parents, where it is not process 1: daemons of the main process, and what
//! scripts left running. They come to us instead of to process 1, so that they end with the main process.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, waitpid};

use super::reaper::{self, Reaped};
use super::spawn;

/// From now on this process is the parent of every descendant that loses its own. Not inherited by children.
pub fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(getpid()))?)
}

/// Reaps the orphans that have ended. Children that [`spawn`] started are left to whoever waits for them.
///
/// The kernel gives orphans to the first thread. A child that another thread is just starting is that thread's, and comes
/// to the first one when it ends: by then it is known here.
pub fn reap() {
    let us = getpid();
    for child in pids_in(Path::new(&format!("/proc/{0}/task/{0}/children", us.as_raw_nonzero()))) {
        if !spawn::is_awaited(child.as_raw_nonzero().get()) {
            // One that runs stays.
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        }
    }
}

/// Reaps every child that has ended, whoever waits for it, and tells whether any is left.
#[must_use]
pub fn reap_all() -> bool {
    matches!(reaper::reap_all(), Reaped::NoneYet)
}

/// Signals every descendant. Those of another user, as behind sudo, stay as they are.
pub fn signal_all(signal: Signal) {
    let family = family();
    for member in family.iter().copied().filter(|member| *member != getpid()) {
        // The descriptor stays with the process that it was opened for. A number may have gone to a stranger since it
        // was found; one whose parent is of the family is none.
        let Ok(process) = pidfd_open(member, PidfdFlags::empty()) else { continue };
        if parent(member).is_some_and(|parent| family.contains(&parent)) {
            let _ = pidfd_send_signal(&process, signal);
        }
    }
}

/// This process and its descendants.
fn family() -> HashSet<Pid> {
    let mut family = HashSet::new();
    let mut unseen = vec![getpid()];
    while let Some(member) = unseen.pop() {
        if family.insert(member) {
            unseen.extend(children(member));
        }
    }
    family
}

/// A child belongs to the thread that started it.
fn children(of: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero())).into_iter().flatten().flatten();
    threads.flat_map(|thread| pids_in(&thread.path().join("children"))).collect()
}

fn pids_in(file: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

fn parent(of: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", of.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::process::tests::alone;

    /// Runs `script`, which leaves something behind.
    fn orphaned(script: &str) {
        let status = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).process_group(0).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn orphans_come_to_us_and_end_with_their_children_and_no_stranger_does() {
        let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
        alone(|| {
            adopt().unwrap();
            orphaned("setsid sh -c 'sleep 1000 & sleep 1000; :' & sleep 1000 &");
            // The shell and the two: no wait, for a child is there as soon as it was forked.
            assert!(children(getpid()).len() >= 2);
            while reap_all() {
                signal_all(Signal::KILL);
                std::thread::yield_now();
            }
            assert_eq!(family().into_iter().collect::<Vec<_>>(), [getpid()]);
        });
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn an_orphan_is_reaped_and_a_child_of_spawn_is_not() {
        alone(|| {
            adopt().unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let status = runtime.block_on(async {
                let mut launch = spawn::Launch::new("/bin/sh");
                launch.arguments = vec!["-c".into(), "exit 7".into()];
                let mut child = launch.spawn().await.unwrap();
                orphaned("sleep 0 &");
                let own = child.group();
                while children(getpid()).iter().any(|it| it.as_raw_nonzero().get() != own) {
                    reap();
                    std::thread::yield_now();
                }
                reap();
                child.process.wait().await.unwrap()
            });
            assert_eq!(status.code(), Some(7));
        });
    }
}
