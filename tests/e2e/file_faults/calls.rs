//! The calls into the file system that a boot makes, as points at which strace can put a fault.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use tests::Run;

use super::batch::Batch;

/// What may change a file system or tell that it is broken.
const CALLS: &str = "openat,mkdirat,write,pwrite64,ftruncate,fallocate,fchmod,fchown,fsetxattr,flock,sync_file_range,\
                     fdatasync,fsync,renameat,renameat2,linkat,unlinkat,statx,newfstatat,read,pread64";

/// The n-th call of one name within a thread.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Point {
    pub call: String,
    pub number: usize,
    /// Only threads that are busy with the home get so far: an error here meets nothing else of the agent.
    pub alone: bool,
}

/// Runs a boot into a home and returns the calls that concerned it, in order.
pub fn record(batch: &Batch) -> Vec<Point> {
    let home = batch.home("recorded");
    let trace = batch.env().path("tmp/trace");
    // No content is printed (-s 0); what is executed is not followed (-b), so that only the agent meets faults.
    let run = batch.run(&home);
    let run = run.under(
        "/usr/bin/strace",
        ["-f", "-b", "execve", "-qq", "-y", "-s", "0", "-o"]
            .map(Into::into)
            .into_iter()
            .chain([trace.clone().into_os_string(), format!("--trace={CALLS}").into()]),
    );
    assert_eq!(batch.boot(run).exit.code, Some(0));
    batch.completes(&home);
    let points = points(&fs::read_to_string(&trace).unwrap(), &home);
    fs::remove_file(&trace).unwrap();
    points
}

struct Call<'t> {
    thread: &'t str,
    name: &'t str,
    at_home: bool,
}

fn call<'t>(line: &'t str, home: &str) -> Option<Call<'t>> {
    let (thread, rest) = line.split_once(char::is_whitespace)?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    // The second half of a call that another thread's interrupted reads `<... openat resumed>`.
    (!name.contains(' ')).then(|| Call { thread, name, at_home: arguments.contains(home) })
}

/// strace counts for each thread, and every thread whose count is reached gets the fault. So a point is only one if the
/// first thread that gets so far is busy with the home.
fn points(trace: &str, home: &Path) -> Vec<Point> {
    let calls: Vec<_> = trace.lines().filter_map(|line| call(line, &home.display().to_string())).collect();
    let elsewhere = most_elsewhere(&calls);
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut highest: HashMap<&str, usize> = HashMap::new();
    let mut points = Vec::new();
    for Call { thread, name, at_home } in calls {
        let number = counts.entry((thread, name)).or_default();
        *number += 1;
        let highest = highest.entry(name).or_default();
        if *number > *highest {
            *highest = *number;
            if at_home {
                // Some more than were counted: the next run differs a little.
                let alone = elsewhere.get(name).is_none_or(|count| *number > count + 10);
                points.push(Point { call: name.to_owned(), number: *number, alone });
            }
        }
    }
    points
}

/// How often each call is made by a thread that has other things to do than the home.
fn most_elsewhere<'t>(calls: &[Call<'t>]) -> HashMap<&'t str, usize> {
    let main = calls.first().map(|call| call.thread);
    let at_home: HashSet<_> = calls.iter().filter(|call| call.at_home).map(|call| call.thread).collect();
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for call in calls.iter().filter(|call| Some(call.thread) == main || !at_home.contains(call.thread)) {
        *counts.entry((call.thread, call.name)).or_default() += 1;
    }
    let mut most = HashMap::new();
    for ((_, name), count) in counts {
        let highest = most.entry(name).or_default();
        *highest = count.max(*highest);
    }
    most
}

/// `run`, with `fault` at `point`.
pub fn inject(run: Run, point: &Point, fault: &str) -> Run {
    let Point { call, number, .. } = point;
    let inject = format!("--inject={call}:{fault}:when={number}");
    let trace = format!("--trace={call}");
    run.under("/usr/bin/strace", ["-f", "-b", "execve", "-qq", "-s", "0", "-o", "/dev/null", &trace, &inject])
}
