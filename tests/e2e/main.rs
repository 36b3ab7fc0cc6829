//! End-to-end tests of the built executables, one module a theme.

mod accounts;
mod admin;
mod at_rest;
mod bad_input;
mod boot;
mod booted;
mod cli;
mod crash;
mod cron;
mod definitions;
mod demo;
mod env_formats;
mod epochs;
mod failing;
mod faults;
mod file_faults;
mod git;
mod handover;
mod harness;
mod http;
mod leaks;
mod live;
mod memory;
mod metadata;
mod moving;
mod network;
mod peers;
mod pid1;
mod postgres;
mod server;
mod sessions;
mod shells;
mod ssh;
mod surroundings;
mod trust;
mod units;
mod versions;
mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file that no `mod` names would compile nowhere and pass for ever.
#[test]
fn every_test_file_is_a_module() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let main = fs::read_to_string(dir.join("main.rs")).unwrap();
    let named: BTreeSet<_> =
        main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    let present: BTreeSet<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "main")
        .collect();
    assert_eq!(named, present);
}

/// Each start of `coder exec` would pay for more of them.
#[test]
fn coder_loads_libc_and_no_other_library_of_the_compiler() {
    let listed = tests::Env::new().program("/usr/bin/ldd").arg(&tests::binaries().coder).run().success().stdout;
    assert!(listed.contains("libc.so"), "{listed}");
    assert!(!listed.contains("libgcc_s"), "{listed}");
}
