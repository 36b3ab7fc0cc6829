//! Process 1 of a container: a process that only reaps orphans and passes signals on, in front of the agent.
//!
//! The kernel gives process 1 every orphan, protects it from signals it has no handler for, and ends all others with it.
//! The agent is its child, so that a fault in the agent is an exit code rather than the silence of the whole container,
//! and so that nobody but the agent waits for the agent's children.
#![expect(unsafe_code, reason = "fork and sigwaitinfo have no safe interface")]

use std::io;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork};
use rustix::process::WaitOptions;

use super::process;

/// For what is left to end by itself. Container engines kill after ten seconds, most of which the agent may have used.
const GRACE: Duration = Duration::from_secs(3);
/// What a shell reports for a process that a signal ended, and what cannot be told otherwise.
const SIGNAL_BASE: i32 = 128;
const UNKNOWN: u8 = 255;

/// On which side of the fork this process is.
#[derive(Debug)]
pub enum Side {
    /// It was never process 1.
    Elsewhere,
    /// It is the agent, behind process 1.
    Agent,
    /// It is process 1, and has nothing to do but [`Init::run`].
    Init(Init),
}

/// Process 1, with every signal blocked, in front of its one child of its own.
#[derive(Debug)]
pub struct Init {
    child: Pid,
}

/// What to do next.
enum Event {
    /// A child may have ended.
    Child,
    /// To be passed on.
    Signal(libc::c_int),
    /// Nothing, within the time given.
    Nothing,
}

/// Forks where this process is process 1. To be called before any thread exists, and before a secret was read.
pub fn split() -> io::Result<Side> {
    if std::process::id() != 1 {
        return Ok(Side::Elsewhere);
    }
    if !process::is_single_threaded()? {
        return Err(io::Error::other("process 1 can only fork before other threads start"));
    }
    // Before the fork, so that no signal comes too early: blocked ones wait, also those that process 1 would ignore.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: there is a single thread, so the child has everything the parent had, in a state to be used.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Side::Init(Init { child })),
        ForkResult::Child => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Ok(Side::Agent)
        }
    }
}

impl Init {
    /// Reaps and passes signals on until the child has ended; then ends what is left. Returns the child's exit code, or
    /// 128 and the signal that ended it.
    #[must_use]
    pub fn run(self) -> u8 {
        let code = loop {
            match next_event(None) {
                Event::Child => {
                    if let Some(code) = self.reap() {
                        break code;
                    }
                }
                Event::Signal(signal) => self.pass_on(signal),
                Event::Nothing => {}
            }
        };
        end_all();
        code
    }

    /// Reaps all that have ended, and gives the exit code of the child where it is among them.
    fn reap(&self) -> Option<u8> {
        let mut code = None;
        while let Reaped::One(pid, ended) = reap_one() {
            if pid == self.child {
                code = Some(ended);
            }
        }
        code
    }

    fn pass_on(&self, signal: libc::c_int) {
        // SAFETY: the call takes integers only, and the child was not reaped yet, so its number is its own. Not nix's,
        // which has no word for real-time signals.
        unsafe { libc::kill(self.child.as_raw(), signal) };
    }
}

pub(super) enum Reaped {
    One(Pid, u8),
    /// There are children, and all of them run.
    NoneYet,
    NoChild,
}

/// Not with nix, which has no word for the end by a real-time signal and would lose it.
fn reap_one() -> Reaped {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            let code = status.exit_status().or_else(|| Some(SIGNAL_BASE + status.terminating_signal()?));
            Reaped::One(
                Pid::from_raw(pid.as_raw_nonzero().get()),
                code.and_then(|code| u8::try_from(code).ok()).unwrap_or(UNKNOWN),
            )
        }
        Ok(None) => Reaped::NoneYet,
        // That there are none is the only way to fail.
        Err(_) => Reaped::NoChild,
    }
}

/// Asks everything in the container to end. The kernel kills what does not, when process 1 ends.
fn end_all() {
    // Elsewhere than in a container -1 would be the whole machine.
    if std::process::id() != 1 || matches!(reap_all(), Reaped::NoChild) {
        return;
    }
    // Everything but ourselves: -1 never reaches the sender.
    let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
    let end = Instant::now() + GRACE;
    while matches!(reap_all(), Reaped::NoneYet) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        next_event(Some(left));
    }
}

pub(super) fn reap_all() -> Reaped {
    loop {
        match reap_one() {
            Reaped::One(..) => {}
            last => return last,
        }
    }
}

fn next_event(limit: Option<Duration>) -> Event {
    let all = SigSet::all();
    // SAFETY: zeroes are a valid siginfo, and set and siginfo live as long as the call.
    let (signal, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let signal = match limit {
            None => libc::sigwaitinfo(all.as_ref(), &raw mut info),
            Some(limit) => libc::sigtimedwait(all.as_ref(), &raw mut info, &timespec(limit)),
        };
        (signal, info)
    };
    match signal {
        libc::SIGCHLD => Event::Child,
        signal if signal > 0 && !from_keyboard(signal, &info) => Event::Signal(signal),
        // Interrupted, or out of time.
        _ => Event::Nothing,
    }
}

/// The terminal tells its whole foreground group, of which the child is a part. Only a hang-up is told to us alone.
fn from_keyboard(signal: libc::c_int, info: &libc::siginfo_t) -> bool {
    info.si_code == libc::SI_KERNEL
        && matches!(
            signal,
            libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGWINCH
        )
}

fn timespec(limit: Duration) -> libc::timespec {
    // A grace of seconds fits whatever the types are.
    libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::tests::alone;

    /// Runs `child` behind an [`Init`] that is not process 1, so that nothing but its own children is touched.
    fn init(child: impl FnOnce()) -> Init {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).unwrap();
        // SAFETY: single-threaded, see `alone`.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => Init { child },
            ForkResult::Child => {
                child();
                // SAFETY: ends the child without what the harness would do at its end.
                unsafe { libc::_exit(0) }
            }
        }
    }

    fn await_code(init: &Init) -> u8 {
        loop {
            match next_event(Some(Duration::from_secs(20))) {
                Event::Child => {
                    if let Some(code) = init.reap() {
                        return code;
                    }
                }
                Event::Signal(signal) => init.pass_on(signal),
                Event::Nothing => panic!("the child does not end"),
            }
        }
    }

    #[test]
    fn the_exit_code_is_the_childs_or_128_and_its_signal() {
        alone(|| {
            // SAFETY: as in `init`.
            assert_eq!(await_code(&init(|| unsafe { libc::_exit(7) })), 7);
            for signal in [libc::SIGKILL, libc::SIGTERM] {
                let killed = init(|| {
                    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).unwrap();
                    // SAFETY: the child ends itself.
                    unsafe { libc::raise(signal) };
                });
                assert_eq!(i32::from(await_code(&killed)), SIGNAL_BASE + signal);
            }
        });
    }

    #[test]
    fn a_signal_to_us_reaches_the_child_real_time_ones_too() {
        for signal in [libc::SIGUSR1, libc::SIGHUP, libc::SIGRTMIN() + 3] {
            alone(|| {
                let init = init(|| {
                    // Blocked since before the fork, so it cannot be missed.
                    let Event::Signal(got) = next_event(Some(Duration::from_secs(20))) else { return };
                    // SAFETY: as in `init`.
                    unsafe { libc::_exit(got) }
                });
                // SAFETY: a blocked signal to ourselves.
                unsafe { libc::raise(signal) };
                assert_eq!(i32::from(await_code(&init)), signal);
            });
        }
    }

    #[test]
    fn outside_a_container_nothing_is_forked() {
        assert!(matches!(split(), Ok(Side::Elsewhere)));
    }
}
