//! The signal mask and the actions of signals that a process inherits. Whoever started the agent may have blocked or
//! ignored any of them, as `nohup`, a shell's `&`, and programs that handle signals in a thread of their own do.
#![expect(unsafe_code, reason = "the action of a signal has no safe interface")]

use std::io;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// Unblocks every signal, and gives those that are ignored their default action. Handlers of this process stay, and so
/// does SIGPIPE, which Rust programs ignore. To be called before any thread exists.
pub fn reset() -> io::Result<()> {
    for signal in 1..=LAST {
        if signal != libc::SIGPIPE && is_ignored(signal) {
            set_default(signal);
        }
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// Makes the ends of children known to this process, and changes nothing else: with SIGCHLD ignored the kernel keeps no
/// exit status.
pub fn hear_of_children() -> io::Result<()> {
    set_default(libc::SIGCHLD);
    Ok(SigSet::from(Signal::SIGCHLD).thread_unblock()?)
}

/// The last signal of the kernel.
pub(super) const LAST: libc::c_int = 64;
/// Bytes of the kernel's set of signals.
const SET_BYTES: usize = 8;
/// Room for the kernel's `struct sigaction`, whose first word is the action and whose zeroes mean the default action.
type KernelAction = [usize; 8];

/// Gives a signal its default action. The C library refuses those that it keeps for its threads, which a parent may
/// have ignored all the same, so the kernel is asked itself. It may be called between fork and exec.
pub(super) fn set_default(signal: libc::c_int) {
    let default: KernelAction = [0; 8];
    // SAFETY: the kernel only reads `default`; the default action runs no code; SIGKILL and SIGSTOP are refused.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<KernelAction>(), SET_BYTES)
    };
}

/// Whether a signal is ignored; false for one that does not exist.
#[must_use]
pub fn is_ignored(signal: libc::c_int) -> bool {
    let mut action: KernelAction = [0; 8];
    // SAFETY: the kernel writes at most its own structure, which is smaller than `action`.
    let known = unsafe {
        let none = std::ptr::null::<KernelAction>();
        libc::syscall(libc::SYS_rt_sigaction, signal, none, action.as_mut_ptr(), SET_BYTES) == 0
    };
    known && action.first() == Some(&libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::tests::{alone, ignore};

    #[test]
    fn ignored_signals_are_known() {
        // Rust programs ignore SIGPIPE from their start.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGUSR2) && !is_ignored(10_000));
    }

    #[test]
    fn what_was_inherited_is_reset_and_nothing_else() {
        alone(|| {
            ignore(Signal::SIGCHLD);
            ignore(Signal::SIGUSR1);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).unwrap();
            reset().unwrap();
            assert_eq!(SigSet::thread_get_mask().unwrap(), SigSet::empty());
            assert!(!is_ignored(libc::SIGCHLD) && !is_ignored(libc::SIGUSR1) && is_ignored(libc::SIGPIPE));
        });
    }

    #[test]
    fn children_are_heard_of_and_the_rest_stays() {
        alone(|| {
            ignore(Signal::SIGCHLD);
            ignore(Signal::SIGHUP);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).unwrap();
            hear_of_children().unwrap();
            assert!(std::process::Command::new("true").status().unwrap().success());
            assert!(is_ignored(libc::SIGHUP) && SigSet::thread_get_mask().unwrap().contains(Signal::SIGHUP));
        });
    }
}
