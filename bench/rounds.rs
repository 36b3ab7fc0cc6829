//! Command lines against each other, timed by hyperfine.
//!
//! One call of hyperfine makes all runs of a command before it goes on to the next, so whatever else the machine does
//! meanwhile hits one contender. Here it is called for a few runs at a time, in an order that is shuffled every round.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tests::{Env, LONG, Run};
use uuid::Uuid;

use crate::figure::Figure;
use crate::section::Section;

const ROUNDS: usize = 20;
/// Of a fast command in each round, and of a slow one. Where all are slow there are so many more rounds instead, so that
/// what is compared is but a moment apart.
const RUNS: usize = 5;
const SLOW_RUNS: usize = 3;
/// In seconds.
const SLOW: f64 = 0.1;
/// As a shell would say it.
const SIGKILL: i64 = 128 + 9;

/// One command line.
pub struct Contender {
    pub what: String,
    command: String,
    directory: Option<PathBuf>,
    variables: Vec<(String, String)>,
    prepare: Option<String>,
    killed: bool,
    once_more: bool,
}

impl Contender {
    /// `command` is split as a shell would, but no shell runs.
    pub fn new(what: impl Into<String>, command: impl Into<String>) -> Self {
        let (what, command) = (what.into(), command.into());
        Self { what, command, directory: None, variables: Vec::new(), prepare: None, killed: false, once_more: false }
    }

    pub fn named(mut self, what: &str) -> Self {
        what.clone_into(&mut self.what);
        self
    }

    /// It runs in `directory`.
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// A shell command before every run, which is not timed.
    pub fn prepare(mut self, command: impl Into<String>) -> Self {
        self.prepare = Some(command.into());
        self
    }

    /// It ends by SIGKILL, and in no other way.
    pub fn killed(mut self) -> Self {
        self.killed = true;
        self
    }

    /// Where it fails it is tried once more: some die by a signal once in a thousand runs.
    pub fn once_more(mut self) -> Self {
        self.once_more = true;
        self
    }

    /// Whether the command that it starts, `true`, would have `variables`: delivering nothing is fast.
    pub fn delivers(&self, env: &Env, variables: &[(String, String)]) -> bool {
        let command = self.command.strip_suffix("true").expect("it starts `true`");
        let output = self.surrounded(env.program("/bin/sh")).args(["-c", &format!("{command}env")]).reveals().run();
        let lines: HashSet<_> = output.stdout.lines().collect();
        variables.iter().all(|(name, value)| lines.contains(format!("{name}={value}").as_str()))
    }

    fn surrounded(&self, run: Run) -> Run {
        let run = self.variables.iter().fold(run, |run, (name, value)| run.env(name, value));
        self.directory.iter().fold(run, Run::cwd)
    }

    /// In seconds.
    fn times(&self, env: &Env, warmup: usize, runs: usize) -> Vec<f64> {
        let result = env.path("work/hyperfine.json");
        let first = self.hyperfine(env, &result, warmup, runs).run();
        if self.once_more && first.exit.code != Some(0) {
            eprintln!("once more, because it failed: {}", self.what);
            let _ = self.hyperfine(env, &result, warmup, runs).run().success();
        } else {
            let _ = first.success();
        }
        let (times, codes) = read(&result);
        let expected = if self.killed { SIGKILL } else { 0 };
        assert!(codes.iter().all(|code| *code == expected), "{} ended with {codes:?}, not {expected}", self.what);
        times
    }

    fn hyperfine(&self, env: &Env, result: &Path, warmup: usize, runs: usize) -> Run {
        let (warmup, runs) = (warmup.to_string(), runs.to_string());
        let mut run = self
            .surrounded(env.program("/usr/bin/hyperfine"))
            .args(["-N", "--warmup", &warmup, "--runs", &runs, "--style", "none", "--export-json"])
            .arg(result);
        if let Some(prepare) = &self.prepare {
            run = run.args(["--prepare", prepare]);
        }
        if self.killed {
            run = run.arg("--ignore-failure");
        }
        run.arg(&self.command).limit(LONG * 2)
    }
}

/// Runs all against each other; milliseconds, in the order of `contenders`.
pub fn race(env: &Env, contenders: &[Contender]) -> Vec<Figure> {
    let slow: Vec<bool> = contenders.iter().map(|one| one.times(env, 1, 1)[0] > SLOW).collect();
    let (rounds, slow_runs) = if slow.iter().all(|slow| *slow) { (ROUNDS * SLOW_RUNS, 1) } else { (ROUNDS, SLOW_RUNS) };
    let mut samples = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for index in shuffled(contenders.len()) {
            let (warmup, runs) = if slow[index] { (0, slow_runs) } else { (1, RUNS) };
            let times = contenders[index].times(env, warmup, runs);
            samples[index].push(times.into_iter().map(|seconds| seconds * 1000.0).collect());
        }
    }
    samples.into_iter().map(Figure::of_rounds).collect()
}

/// Runs ours against the same without it, adds both to `section`, and says how many milliseconds ours takes more.
pub fn overhead(env: &Env, contenders: &[Contender; 2], section: &mut Section) -> f64 {
    let figures: [Figure; 2] = race(env, contenders).try_into().expect("one for each");
    let [ours, plain] = &figures;
    let more = ours.above(plain);
    section.ours(&contenders[0].what, ours.clone());
    section.limit(&contenders[1].what, plain.clone());
    more
}

/// The order of a round.
pub fn shuffled(contenders: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    order.sort_by_cached_key(|_| Uuid::new_v4());
    order
}

/// The time of each run, and how it ended.
fn read(path: &Path) -> (Vec<f64>, Vec<i64>) {
    let text = std::fs::read_to_string(path).expect("hyperfine's result");
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let list = |name: &str| parsed["results"][0][name].as_array().expect("one for each run");
    let times = list("times").iter().map(|time| time.as_f64().expect("a time")).collect();
    (times, list("exit_codes").iter().map(|code| code.as_i64().expect("a code")).collect())
}
