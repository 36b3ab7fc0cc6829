//! Parts of the agent by themselves, timed by criterion. `make bench` runs them in turns.
#![forbid(unsafe_code)]

use std::hint::black_box;

use agent::environment::{Caller, Environment, Launched, Options};
use agent::files::{self, disk::Disk};
use agent::ledger::Ledger;
use agent::manifest;
use agent::mask::Masker;
use agent::plan::{Plan, Policy};
use aho_corasick::{AhoCorasick, MatchKind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::agent_api;
use protocol::secret::Secret;

const SECRETS: usize = 50;
const LINES: usize = 20_000;
/// What is read of a script's output at once.
const CHUNK: usize = 8 * 1024;

fn value(number: usize) -> String {
    format!("{number:04}-0123456789abcdef0123456789abcdef")
}

fn named_values() -> Vec<(String, Secret)> {
    (0..SECRETS).map(|number| (format!("secret-{number}"), Secret::from(value(number)))).collect()
}

/// Output of a build, with a value in every so many lines.
fn output(every: usize) -> Vec<u8> {
    let line = |number: usize| match number % every {
        0 => format!("using token {} for the registry\n", value(number % SECRETS)),
        _ => format!("[{number:6}/20000] compiling module {number} of the project\n"),
    };
    (1..=LINES).map(line).collect::<String>().into_bytes()
}

fn masked(masker: &Masker, output: &[u8]) -> usize {
    let mut stream = masker.stream();
    let shown: usize = output.chunks(CHUNK).map(|chunk| stream.push(chunk).len()).sum();
    shown + stream.finish().len()
}

fn masking(criterion: &mut Criterion) {
    let masker = Masker::new(&named_values()).expect("a masker").0;
    let values = (0..SECRETS).map(value);
    let searcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values).expect("a searcher");
    let (without, with) = (output(LINES + 1), output(10));
    let mut group = criterion.benchmark_group("mask");
    group.throughput(Throughput::Bytes(without.len() as u64));
    group.bench_function("without", |bencher| bencher.iter(|| masked(&masker, black_box(&without))));
    group.bench_function("copied", |bencher| {
        bencher.iter(|| black_box(&without).chunks(CHUNK).map(<[u8]>::to_vec).count());
    });
    group.bench_function("aho-corasick", |bencher| {
        let replacements = [agent::mask::REPLACEMENT; SECRETS];
        bencher.iter(|| searcher.replace_all_bytes(black_box(&without), &replacements).len());
    });
    group.throughput(Throughput::Bytes(with.len() as u64));
    group.bench_function("with", |bencher| bencher.iter(|| masked(&masker, black_box(&with))));
    group.finish();
}

fn preparing(criterion: &mut Criterion) {
    let values = named_values();
    let environment = environment();
    let mut group = criterion.benchmark_group("prepare");
    group.bench_function("masker", |bencher| bencher.iter(|| Masker::new(black_box(&values)).expect("a masker")));
    group.bench_function("environment", |bencher| {
        bencher.iter(|| black_box(&environment).resolve(&Caller::Agent(Launched::Main, Vec::new())).variables.len());
    });
    group.finish();
}

/// One of fifty secrets and fifty variables of the template.
fn environment() -> Environment {
    let secret = |number| agent_api::WorkspaceSecret {
        env_name: format!("SECRET_{number}"),
        file_path: String::new(),
        value: value(number).into_bytes(),
    };
    let template = |number| (format!("TEMPLATE_{number}"), "a-value-of-the-template".to_owned());
    let manifest = agent_api::Manifest {
        agent_id: vec![1; 16],
        workspace_id: vec![1; 16],
        environment_variables: (0..SECRETS).map(template).collect(),
        secrets: (0..SECRETS).map(secret).collect(),
        ..agent_api::Manifest::default()
    };
    let (manifest, secrets) = manifest::split(manifest).expect("a manifest");
    let mut ledger = Ledger::new(None).expect("a ledger");
    let files = files::apply(Plan::new(secrets, &Disk, &Policy::default(), &ledger), &mut ledger);
    Environment::build(std::env::vars_os().map(inherited).collect(), &manifest, files, Options::default()).0
}

fn inherited((name, value): (std::ffi::OsString, std::ffi::OsString)) -> (std::ffi::OsString, Secret) {
    (name, Secret::new(value.into_encoded_bytes()))
}

criterion_group!(parts, masking, preparing);
criterion_main!(parts);
