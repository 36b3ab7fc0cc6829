//! HTTP requests as often as a server answers them, by wrk.

use serde_json::Value;
use tests::{Env, LONG};

use crate::figure::Figure;
use crate::rounds::shuffled;

/// Of each contender.
const ROUNDS: usize = 12;
/// As short as wrk can be.
const SECONDS: &str = "1s";
/// All asking at once.
pub const CONNECTIONS: &str = "32";

/// A server, and what it is asked.
pub struct Contender {
    pub what: String,
    url: String,
    script: String,
}

/// Requests a second, and how long one took at most, in milliseconds, for half of them and for all but one in a hundred.
pub struct Rate {
    pub requests: Figure,
    pub p50: Figure,
    pub p99: Figure,
}

impl Contender {
    /// `path` has `%d` where a number stands, which goes up to `paths`. `body` has one that is never the same.
    pub fn new(
        what: &str,
        url: &str,
        method: &str,
        header: (&str, &str),
        (path, paths): (&str, usize),
        body: Option<&str>,
    ) -> Self {
        let body = body.map_or("nil".to_owned(), |body| format!("string.format('{body}', n)"));
        let script = format!(
            "local n = 0\n\
             local headers = {{ ['Content-Type'] = 'application/json', ['{}'] = '{}' }}\n\
             request = function()\n  n = n + 1\n  \
               return wrk.format('{method}', string.format('{path}', n % {paths}), headers, {body})\nend\n{SUMMARY}",
            header.0, header.1
        );
        Self { what: what.to_owned(), url: url.to_owned(), script }
    }

    fn run(&self, env: &Env) -> [f64; 3] {
        let script = env.write("wrk.lua", &self.script);
        let load = ["-t1", "-c", CONNECTIONS, "-d", SECONDS, "-s"];
        let run = env.program("/usr/bin/wrk").args(load).arg(script).arg(&self.url).limit(LONG).run().success();
        let line = run.stdout.lines().last().unwrap_or_default();
        let summary: Value = serde_json::from_str(line).expect("wrk's summary");
        let field = |name: &str| summary[name].as_f64().expect("a figure");
        assert!(field("errors") == 0.0, "{} refuses: {}", self.what, run.stdout);
        std::fs::remove_file(env.path("work/wrk.lua")).expect("remove the script: it has a token");
        [field("requests") * 1e6 / field("duration"), field("p50") / 1000.0, field("p99") / 1000.0]
    }
}

const SUMMARY: &str = "\
done = function(summary, latency)
  local e = summary.errors
  print(string.format('{\"requests\":%d,\"duration\":%d,\"errors\":%d,\"p50\":%d,\"p99\":%d}', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
";

/// Asks all in turn, and calls `aside` in each round.
pub fn race(env: &Env, contenders: &[Contender], mut aside: impl FnMut()) -> Vec<Rate> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for _ in 0..ROUNDS {
        for index in shuffled(contenders.len()) {
            samples[index].push(contenders[index].run(env));
        }
        aside();
    }
    let figure = |runs: &[[f64; 3]], field: usize| Figure::of(runs.iter().map(|run| run[field]).collect());
    let rate = |runs: &Vec<_>| Rate { requests: figure(runs, 0), p50: figure(runs, 1), p99: figure(runs, 2) };
    samples.iter().map(rate).collect()
}
