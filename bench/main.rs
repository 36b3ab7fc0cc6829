//! Measures the built executables and writes `docs/performance.md`. `bench/run` builds them and calls this.
//!
//! A scenario is a function that takes the [`World`] and adds rows to the [`Report`]; a further one joins the list in
//! [`measure`].
#![forbid(unsafe_code)]

mod boot;
mod exec;
mod fleet;
mod load;
mod machine;
mod memory;
mod report;
mod world;

use report::Report;
use world::World;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["load", url, tokens, work] => load::run(url, tokens, work),
        [] => measure(),
        _ => eprintln!("usage: bench | bench load URL TOKEN-FILE hold|calls|connects"),
    }
}

fn measure() {
    let mut report = Report::new(&machine::describe());
    report.rows("Size", machine::sizes());
    let mut world = World::new();
    report.rows("Time", boot::measure(&world));
    report.rows("Starting a process", exec::measure(&world));
    report.rows("Memory", memory::measure(&mut world));
    report.rows("One server", fleet::measure(&world));
    report.write();
}
