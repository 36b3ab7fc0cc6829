//! A child that takes our place on the terminal while we serve it: same process group, same streams, same environment.
#![expect(unsafe_code, reason = "what runs between fork and exec, and the end by a signal, have no safe interface")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use rustix::process::{
    Pid, Resource, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, set_parent_process_death_signal,
    setrlimit, waitid,
};

use super::process;

/// Starts `command` in the process group of this process. The child ends when we end, however that happens. Needs a tokio runtime on this thread, the one
/// thread that starts processes: the kernel takes the end of that thread for ours.
pub fn spawn(mut command: Command) -> io::Result<tokio::process::Child> {
    let (us, core) = (getpid(), process::core_limit());
    let prepare = move || {
        if let Some(limit) = core {
            setrlimit(Resource::Core, limit)?;
        }
        set_parent_process_death_signal(Some(Signal::HUP))?;
        // We may have ended before the kernel knew that it matters.
        if getppid() == Some(us) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: `prepare` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
    tokio::process::Command::from(command).spawn()
}

/// Whether a child of ours is stopped, and has been since this was asked last. It stays a child to be waited for.
#[must_use]
pub fn has_stopped(child: u32) -> bool {
    let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return false };
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(pid), options).is_ok_and(|status| status.is_some_and(|status| status.stopped()))
}

/// Stops this process until somebody continues it.
pub fn stop() {
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
}

/// Ends this process the way a child of ours was ended. Returns for a signal that ends nobody.
pub fn end_by(signal: i32) {
    // SAFETY: the default action replaces whatever handler there is; raising a signal touches no memory of ours.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_child_shares_our_process_group_and_gets_its_signals_back() {
        let mut command = Command::new("sh");
        command.args(["-c", "ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat"]);
        command.stdout(std::process::Stdio::piped());
        let output = spawn(command).unwrap().wait_with_output().await.unwrap();
        let group: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(group, rustix::process::getpgrp().as_raw_nonzero().get());
    }

    #[tokio::test]
    async fn a_child_that_stops_is_seen_once_and_can_still_be_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -STOP $$; exit 3"]);
        let mut child = spawn(command).unwrap();
        let pid = child.id().unwrap();
        while !has_stopped(pid) {
            tokio::task::yield_now().await;
        }
        assert!(!has_stopped(pid));
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::CONT).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    }
}
