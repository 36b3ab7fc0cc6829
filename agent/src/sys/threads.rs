//! Work that may block, on threads of its own: a disk that hangs must not stop the one thread that the agent runs on.
//!
//! Not tokio's pool, which panics where the first thread cannot be had: a container engine that is older than the C
//! library refuses `clone3`, and a limit of processes is soon reached. Here the work is then done in place.
#![forbid(unsafe_code)]

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::dispatcher::has_been_set;
use tracing::warn;

/// For the modules that libc loads to look up hosts; only what is used of it costs memory.
const STACK: usize = 1024 * 1024;

/// Does `work` on a thread of its own, or, where none can be had, here and now. A panic of the work is one of the caller.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    start(move || drop(sender.send(catch(work))));
    match receiver.await {
        Ok(done) => done.unwrap_or_else(|panic| resume_unwind(panic)),
        // Not possible: whoever took the work sends what came of it.
        Err(_) => std::future::pending().await,
    }
}

/// As [`run`], before there is a runtime, and for at most `limit`: `None` where it is not done by then. It then goes on
/// in the background.
#[must_use]
pub fn run_within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    start(move || drop(sender.send(catch(work))));
    let done = receiver.recv_timeout(limit).ok()?;
    Some(done.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Starts `work` on a thread of its own, or, where none can be had, does it here and now.
pub fn start(work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let elsewhere = {
        let work = Arc::clone(&work);
        move || do_once(&work)
    };
    if let Err(error) = Builder::new().name("blocking".to_owned()).stack_size(STACK).spawn(elsewhere) {
        tell_once(&error);
        do_once(&work);
    }
}

fn do_once(work: &Mutex<Option<impl FnOnce()>>) {
    let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = taken {
        work();
    }
}

fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    // What the work shares it shares by locks that outlive a panic, and the caller ends with it.
    catch_unwind(AssertUnwindSafe(work))
}

fn tell_once(error: &io::Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    // Before there is a log nobody would hear of it. And the log itself comes here, so this is no `Once`.
    if !has_been_set() || TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let cause = if error.kind() == io::ErrorKind::PermissionDenied {
        "; the container engine's seccomp filter is probably older than this system's C library"
    } else {
        ""
    };
    warn!("no threads can be started ({error}{cause}): a slow disk or name server holds up all of the agent");
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, setrlimit};

    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_its_panic_is_the_callers() {
        let here = std::thread::current().id();
        assert_ne!(run(move || std::thread::current().id()).await, here);
        let panicked = tokio::spawn(run(|| panic!("broken"))).await.unwrap_err();
        assert!(panicked.is_panic());
    }

    #[test]
    fn before_there_is_a_runtime_nobody_waits_for_ever() {
        assert_eq!(run_within(Duration::from_secs(20), || 7), Some(7));
        let (release, hung) = mpsc::channel::<()>();
        assert_eq!(run_within(Duration::from_millis(10), move || hung.recv()), None);
        drop(release);
    }

    #[test]
    fn where_no_thread_can_be_had_it_is_done_in_place() {
        if rustix::process::geteuid().is_root() {
            crate::sys::process::tests::alone(|| {
                let account = crate::sys::users::Account::by_uid(65_534).unwrap().unwrap();
                account.take_on().unwrap();
                without_threads();
            });
        }
    }

    fn without_threads() {
        setrlimit(Resource::RLIMIT_NPROC, 0, 0).unwrap();
        let here = std::thread::current().id();
        assert!(Builder::new().spawn(|| {}).is_err());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(run(move || std::thread::current().id())), here);
        assert_eq!(run_within(Duration::ZERO, || 7), Some(7));
    }
}
