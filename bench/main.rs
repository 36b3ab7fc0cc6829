//! Measures the built executables beside the systems of others and writes `docs/performance.md`. `bench/run` builds and
//! installs what this needs, and calls it.
//!
//! A scenario is a function that takes the [`World`] and adds [`section::Section`]s to the [`Report`]; a further one joins
//! [`SCENARIOS`]. `bench/run NAME…` runs some of them, prints them, and writes only their plots.
#![forbid(unsafe_code)]

mod aws;
mod bao;
mod boot;
mod cli;
mod counts;
mod earlier;
mod exec;
mod figure;
mod fill;
mod gitssh;
mod growth;
mod load;
mod machine;
mod memory;
mod openbao;
mod page;
mod parts;
mod peers;
mod plot;
mod postgres;
mod raw;
mod report;
mod rounds;
mod section;
mod sizes;
mod ssh;
mod standin;
mod storm;
mod throughput;
mod tls;
mod usage;
mod versions;
mod world;
mod wrappers;
mod writes;
mod wrk;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use report::Report;
use section::{Goal, Section};
use world::World;

type Scenario = fn(&mut World, &mut Report);

/// In the order of the page.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("exec", exec::measure),
    ("ssh", ssh::measure),
    ("boot", boot::measure),
    ("writes", writes::measure),
    ("cli", cli::measure),
    ("gitssh", gitssh::measure),
    ("memory", memory::measure),
    ("sizes", sizes::measure),
    ("counts", counts::measure),
    ("parts", parts::measure),
    ("throughput", throughput::measure),
    ("storm", storm::measure),
    ("growth", growth::measure),
    ("postgres", postgres::measure),
    ("versions", versions::measure),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["raw"] => raw::serve(),
        ["write", way, directory] => writes::write(way, directory).expect("write the files"),
        ["all"] => return measure(false),
        ["long"] => return measure(true),
        ["page", before] => page::rewrite(before),
        ref names => some(names),
    }
    ExitCode::SUCCESS
}

/// Fails where a scenario did; the others are on the page nevertheless.
fn measure(long: bool) -> ExitCode {
    let mut world = World::new(long);
    let mut report = Report::new(&world);
    let failed = SCENARIOS.iter().filter(|scenario| !attempt(scenario, &mut world, &mut report)).count();
    page::write(&report);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn some(names: &[&str]) {
    let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    if names.is_empty() || names.iter().any(|name| !known.contains(name)) {
        eprintln!("usage: bench all|long|page FORMER.json|SCENARIO…\nscenarios: {}", known.join(" "));
        return;
    }
    let mut world = World::new(true);
    let mut report = Report::new(&world);
    for scenario in SCENARIOS.iter().filter(|(name, _)| names.contains(name)) {
        attempt(scenario, &mut world, &mut report);
    }
    report.print_goals();
}

/// One that fails is named on the page, and the minutes of the others are not lost.
fn attempt((name, scenario): &(&str, Scenario), world: &mut World, report: &mut Report) -> bool {
    let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| scenario(world, report))) else { return true };
    let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    let why = why.and_then(|why| why.lines().next()).unwrap_or("it failed");
    let mut section = Section::new(format!("Failed: {name}"), "");
    section.goal(Goal::unknown(format!("the scenario “{name}” runs to its end"), why));
    report.add(section);
    false
}
