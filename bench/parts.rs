//! Parts of the agent by themselves, timed by criterion, a moment each and in turns.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::{Env, LONG, binaries};

use crate::figure::Figure;
use crate::report::Report;
use crate::rounds::shuffled;
use crate::section::Section;
use crate::world::World;

const ROUNDS: usize = 10;

/// As in `bench/criterion/parts.rs`.
const MASKING: [&str; 4] = ["mask/without", "mask/with", "mask/aho-corasick", "mask/copied"];
const PREPARING: [&str; 2] = ["prepare/masker", "prepare/environment"];

const MASKED: &str = "\
In chunks of 8 KiB, as it is read. Forms of a value, as its base64, are looked for as well; aho-corasick here looks for the values \
alone, in one piece.";
/// What a profile of these figures led to.
const DONE: &str = "\
What these led to: nearly all of the time went to the question whether a value may begin at a position. It is two loads, a product and a \
bit now, and one position in sixty-four is looked at twice, not one in sixteen: four times as fast. What is left: an automaton would \
be faster, and hold the values in clear in memory that is neither locked nor kept out of a core dump.";

pub fn measure(world: &mut World, report: &mut Report) {
    let program = &binaries().coder.with_file_name("examples").join("parts");
    let [without, with, searched, copied] = race(&world.env, program, MASKING, Part::mebibytes_a_second);
    let mut masking = Section::new("Output of scripts, masked for 50 secrets", "MiB a second");
    masking.text(MASKED);
    masking.text(DONE);
    masking.ours("without values in it", without);
    masking.ours("with a value in each tenth line", with);
    masking.peer("the library aho-corasick, without values in it", searched);
    masking.limit("copied without a look", copied);
    report.add(masking);

    let [masker, environment] = race(&world.env, program, PREPARING, |part| part.nanoseconds / 1000.0);
    let mut preparing = Section::new("Prepared for 50 secrets and 50 template variables", "µs");
    preparing.ours("the variables of a launch", environment);
    preparing.ours("what masks their values", masker);
    report.add(preparing);
}

/// What criterion says of one.
struct Part {
    /// Of one iteration, the median.
    nanoseconds: f64,
    /// That an iteration goes through.
    bytes: f64,
}

impl Part {
    fn mebibytes_a_second(&self) -> f64 {
        self.bytes / 1_048_576.0 / (self.nanoseconds / 1e9)
    }

    fn run(env: &Env, program: &Path, name: &str) -> Self {
        let home = env.path("work/criterion");
        let moment =
            ["--warm-up-time", "0.2", "--measurement-time", "0.5", "--sample-size", "10", "--noplot", "--quiet"];
        let run = env.program(program).args(["--bench", "--exact", name]).args(moment).env("CRITERION_HOME", &home);
        let _ = run.limit(LONG).run().success();
        let read = |file: &str| -> Value {
            let text = fs::read(home.join(name).join("new").join(file)).expect("criterion's result");
            serde_json::from_slice(&text).expect("JSON")
        };
        Self {
            nanoseconds: read("estimates.json")["median"]["point_estimate"].as_f64().expect("a median"),
            bytes: read("benchmark.json")["throughput"]["Bytes"].as_f64().unwrap_or_default(),
        }
    }
}

fn race<const N: usize>(env: &Env, program: &Path, names: [&str; N], unit: impl Fn(&Part) -> f64) -> [Figure; N] {
    let mut samples = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for index in shuffled(N) {
            samples[index].push(unit(&Part::run(env, program, names[index])));
        }
    }
    samples.map(Figure::of)
}
