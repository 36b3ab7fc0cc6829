//! One failing call: its secret keeps the old content and says why, the others arrive.

use std::collections::BTreeSet;

use tests::requires;

use super::batch::{Batch, Before, Holds, TARGETS, Target};
use super::calls::{self, Point};
use super::{NEEDS, random, try_each};

/// What a call may answer on a bad day, and how the message says it.
const FAULTS: [(&str, &str, &[&str]); 7] = [
    (
        "ENOSPC",
        "No space left on device",
        &["openat", "mkdirat", "write", "pwrite64", "fallocate", "renameat", "renameat2"],
    ),
    (
        "EDQUOT",
        "Disk quota exceeded",
        &["openat", "mkdirat", "write", "pwrite64", "fallocate", "renameat", "renameat2"],
    ),
    (
        "EIO",
        "Input/output error",
        &[
            "openat",
            "write",
            "pwrite64",
            "ftruncate",
            "fdatasync",
            "fsync",
            "renameat",
            "renameat2",
            "read",
            "pread64",
            "statx",
            "newfstatat",
        ],
    ),
    ("EMFILE", "Too many open files", &["openat"]),
    ("EROFS", "Read-only file system", &["openat", "mkdirat", "renameat", "renameat2", "fchmod", "fchown"]),
    ("EACCES", "Permission denied", &["openat", "mkdirat", "renameat", "renameat2", "unlinkat"]),
    ("EPERM", "Operation not permitted", &["fchmod", "fchown", "fsetxattr", "renameat", "renameat2"]),
];

#[derive(Clone)]
struct Case {
    point: Point,
    error: &'static str,
    message: &'static str,
}

fn cases(points: &[Point]) -> Vec<Case> {
    let each = |point: &Point| {
        let faults = FAULTS.iter().filter(|(_, _, calls)| calls.contains(&point.call.as_str()));
        let cases: Vec<_> = faults.map(|&(error, message, _)| Case { point: point.clone(), error, message }).collect();
        cases
    };
    points.iter().filter(|point| point.alone).flat_map(each).collect()
}

fn fails_at(batch: &Batch, name: &str, case: &Case) -> bool {
    let Case { point, error, message } = case;
    let home = batch.home(name);
    let boot = batch.boot(calls::inject(batch.run(&home), point, &format!("error={error}")));
    let context = format!("{point:?} {error}\n{}", boot.stderr);
    assert_eq!(boot.exit.code, Some(0), "{context}");
    let failed = Target::all().filter(|target| !boot.delivered(&home, *target)).collect::<Vec<_>>();
    for target in Target::all() {
        let holds = batch.holds(&home, target);
        let right = if boot.delivered(&home, target) { holds == Holds::New } else { undamaged(target, holds) };
        assert!(right, "{target:?} holds {holds:?}, {}; {context}", boot.outcome(&home, target));
    }
    // What shares a directory may fail together; each of the threads that flush has an n-th call.
    let most = if ["fdatasync", "fsync"].contains(&&*point.call) { TARGETS } else { TARGETS / 4 };
    assert!(failed.len() <= most, "{} failed: {context}", failed.len());
    for target in failed {
        boot.complains(&home, target, message);
    }
    batch.completes(&home);
    std::fs::remove_dir_all(&home).unwrap();
    true
}

fn undamaged(target: Target, holds: Holds) -> bool {
    match target.before() {
        Before::Nothing => holds != Holds::Torn,
        // The new content where only the flush of its directory failed.
        Before::File | Before::Linked => [Holds::Old, Holds::New].contains(&holds),
    }
}

#[test]
fn a_failing_call_costs_at_most_its_own_secret() {
    if !requires("a_failing_call_costs_at_most_its_own_secret", &NEEDS) {
        return;
    }
    let mut cases = cases(&calls::record(&Batch::new()));
    random().shuffle(&mut cases);
    // Every call with every error once, and then some.
    let mut seen = BTreeSet::new();
    let (first, again): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| seen.insert((case.point.call.clone(), case.error)));
    for (call, error) in
        [("write", "ENOSPC"), ("write", "EDQUOT"), ("pwrite64", "EIO"), ("fdatasync", "EIO"), ("openat", "EMFILE")]
    {
        assert!(seen.contains(&(call.to_owned(), error)), "no {error} of {call} in {seen:?}");
    }
    let chosen: Vec<_> = first.into_iter().chain(again.into_iter().take(20)).collect();
    try_each(&chosen, fails_at);
}

#[test]
#[ignore = "long: every error of every call of a batch of fifty"]
fn every_failing_call_costs_at_most_its_own_secret() {
    if !requires("every_failing_call_costs_at_most_its_own_secret", &NEEDS) {
        return;
    }
    let cases = cases(&calls::record(&Batch::new()));
    eprintln!("{} cases", cases.len());
    try_each(&cases, fails_at);
}
