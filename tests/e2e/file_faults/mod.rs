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

use tests::Need;

/// strace follows a process that is not dumpable only as root.
const NEEDS: [Need; 2] = [Need::Root, Need::Program("strace", "strace")];

/// Numbers to draw with, from a seed that is printed; `FAULT_SEED` repeats a run.
fn random() -> fastrand::Rng {
    let seed = std::env::var("FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("FAULT_SEED={seed} repeats this run");
    fastrand::Rng::with_seed(seed)
}
