//! Fifty files are written, and the file system fails or the agent dies in the middle.
//!
//! - `batch`: the fifty files, what was in them before and what has to be in them after
//! - `calls`: the calls into the file system at which a fault can be put, recorded from a real boot
//! - `killed`: SIGKILL at each of them
//! - `failing`: an error from each of them
//! - `ledger`: both, while the ledger is written anew
//! - `real`: full, read-only and limited file systems without any injection

mod batch;
mod calls;
mod failing;
mod killed;
mod ledger;
mod real;

use std::num::NonZero;
use std::thread;

use batch::Batch;
use tests::Need;

/// strace follows a process that is not dumpable only as root.
const NEEDS: [Need; 2] = [Need::Root, Need::Program("strace", "strace")];

/// Numbers to draw with, from a seed that is printed; `FAULT_SEED` repeats a run.
fn random() -> fastrand::Rng {
    let seed = std::env::var("FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("FAULT_SEED={seed} repeats this run");
    fastrand::Rng::with_seed(seed)
}

/// Tries each of them, as many at once as there are processors, and each at a server of its own. For how many `attempt` is true.
fn try_each<T: Sync>(all: &[T], attempt: impl Fn(&Batch, &str, &T) -> bool + Sync) -> usize {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    let attempt_all = |share: &[T]| {
        let batch = Batch::new();
        let attempts = share.iter().enumerate().map(|(number, it)| attempt(&batch, &format!("attempt-{number}"), it));
        attempts.filter(|done| *done).count()
    };
    thread::scope(|scope| {
        let shares = all.chunks(all.len().div_ceil(at_once)).map(|share| scope.spawn(move || attempt_all(share)));
        let shares: Vec<_> = shares.collect();
        shares.into_iter().map(|share| share.join().expect("attempts without a panic")).sum()
    })
}
